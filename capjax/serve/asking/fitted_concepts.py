"""Concepts that were fitted for a captioner, as a method that may be asked for: "concepts"."""

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping

from capjax.captioner import Captioner
from capjax.studies.concepts import ConceptMaps, ConceptSet

CONCEPTS = ConceptMaps.NAME
FOLDER = "concepts"
"""Beside a model, where they are looked for unless somebody names another folder."""


@dataclasses.dataclass(frozen=True, eq=False)
class FittedConcepts:
    """Concepts of some words, and the sheets that were drawn of them.

    Attributes:
      captioner: that they were fitted for; None: there are none.
      sets: word -> its concepts.
      sheets: word -> the file of its sheet, of those that have one.
    """

    captioner: Captioner | None = None
    sets: Mapping[str, ConceptSet] = dataclasses.field(default_factory=dict)
    sheets: Mapping[str, pathlib.Path] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(
        cls, captioner: Captioner, folder: pathlib.Path, tell: Callable[[str], None]
    ) -> "FittedConcepts":
        """Those of a folder that `python -m capjax.studies concepts fit` wrote.

        Words without a significant concept are left out, and those of another stage of the encoder
        than most: one map shows the concepts of all words.

        Args:
          captioner: that they were fitted for.
          folder: with a WORD.safetensors a word, and its sheet WORD.png.
          tell: hears what is left out.

        Raises:
          ValueError: a file is none of concepts, or of those of another model.
        """
        found = {}
        for path in sorted(folder.glob("*.safetensors")):
            own = ConceptSet.read(path)
            own.check(captioner)
            if own.kept:
                found[path] = own
            else:
                tell(f"{path.name} has no significant concept; it is left out")
        stages = collections.Counter(own.stage for own in found.values())
        ((stage, _),) = stages.most_common(1) or [("", 0)]
        for path, own in [*found.items()]:
            if own.stage != stage:
                tell(f"{path.name} is of the stage {own.stage!r}, most are of {stage!r}; left out")
                del found[path]
        sheets = {own.word: path.with_suffix(".png") for path, own in found.items()}
        return cls(
            captioner,
            {own.word: own for own in found.values()},
            {word: sheet for word, sheet in sheets.items() if sheet.is_file()},
        )

    @functools.cached_property
    def method(self) -> ConceptMaps:
        """All of them as one method.

        Raises:
          ValueError: there are none.
        """
        if self.captioner is None or not self.sets:
            raise ValueError(
                "no concepts are fitted for this captioner yet: `python -m capjax.studies concepts "
                "fit --model=MODEL --images=FOLDER --words=dog,cat --out=CONCEPTS` fits some; then "
                f"start the server with --concepts=CONCEPTS, or let CONCEPTS be MODEL/{FOLDER}"
            )
        return ConceptMaps.of(self.captioner, [*self.sets.values()])
