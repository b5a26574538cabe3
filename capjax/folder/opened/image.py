"""One image of a folder of results: its record, and its maps once they are asked for."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping

from capjax.folder.maps.contract import UNREADABLE, MapReader
from capjax.folder.records import Answer, Result
from capjax.runtime.files import printable
from capjax.studies.contract import Finding
from capjax.types import Explanation, WordDoubt


class DamagedMapsError(OSError):
    """The maps of an image cannot be read, or are of other words than its record."""


@dataclasses.dataclass(frozen=True, eq=False)
class ImageResult:
    """One image or clip of a run. Its maps are read when they are first asked for, then kept.

    Attributes:
      record: what results.jsonl says of it: caption, score, flags of the maps, and all else.
      folder: of the results.
      maps: reads its maps.
    """

    record: Result
    folder: pathlib.Path
    maps: MapReader

    @property
    def file(self) -> str:
        """Its path below the folder of images, with `/`."""
        return self.record.file

    @property
    def error(self) -> str | None:
        """Why it could not be explained; None where it was."""
        return self.record.error

    @property
    def caption(self) -> str:
        """What the captioner says by itself; empty where there is an `error`."""
        return self.record.caption

    @property
    def doubts(self) -> tuple[WordDoubt, ...] | None:
        """How far object words of the caption may be believed; None where nobody asked."""
        return self.record.doubts

    @property
    def answers(self) -> tuple[Answer, ...]:
        """Each sentence that was explained, with its words, their log-probabilities and the flags
        of every method; empty where there is an `error`."""
        return self.record.answers

    @functools.cached_property
    def sentences(self) -> tuple[Mapping[str, Explanation], ...]:
        """Method -> maps, of each of `answers`.

        Raises:
          DamagedMapsError: they cannot be read, or are of other words.
        """
        if not self.answers:
            return ()
        try:
            return tuple(self.maps.read(self.record))
        except UNREADABLE as error:
            raise self.damaged(str(error) or type(error).__name__) from error

    @property
    def places(self) -> tuple[str, ...]:
        """The files, below the folder, that have its maps."""
        stored = (own for answer in self.answers for own in answer.methods.values())
        return tuple(sorted({own.maps for own in stored}))

    def damaged(self, why: str) -> DamagedMapsError:
        """The error that its maps are damaged."""
        return DamagedMapsError(
            f"the maps of {printable(self.file)} cannot be read ({', '.join(self.places)} in "
            f"{self.folder}: {why}); open the folder again if a run has written there since, or "
            "remove that file and run the command that wrote it again"
        )

    @property
    def explanations(self) -> Mapping[str, Explanation]:
        """Method -> maps, of the first sentence; empty where there is an `error`.

        Raises:
          DamagedMapsError: they cannot be read, or are of other words.
        """
        return self.sentences[0] if self.answers else {}

    def __getitem__(self, method: str) -> Explanation:
        """The maps of one method, of the first sentence."""
        known = self.answers[0].methods if self.answers else {}
        if method not in known:
            if self.error:
                raise KeyError(f"{self.file} could not be explained: {self.error}")
            there = ", ".join(known) or "none"
            raise KeyError(f"no {method!r} maps here; there are: {there}")
        return self.explanations[method]

    def finding(self, study: str) -> Finding:
        """What a study found out about it, pictures too."""
        found = self.record.findings
        if study not in found:
            there = ", ".join(found) or "none"
            raise KeyError(f"no finding of {study!r} here; there are: {there}")
        return found[study].load(self.file, self.folder)

    def __repr__(self) -> str:
        said = f"error={self.error!r}" if self.error else f"caption={self.caption!r}"
        methods = list(self.answers[0].methods) if self.answers else []
        return f"ImageResult({self.file!r}, {said}, methods={methods})"
