"""The pass over a folder of results in which all questions see every image once."""

import dataclasses
from collections.abc import Sequence

from capjax.audit.contract import Question, SeenImage
from capjax.folder.opened.image import DamagedMapsError
from capjax.folder.opened.results import Results
from capjax.runtime.files import counted, printable

MOST_REASONS = 3
"""Of images that are left out, the first ones that are named."""


@dataclasses.dataclass
class Passed:
    """What a pass met.

    Attributes:
      explained: images that questions saw.
      failed: images that could not be explained.
      reasons: the first reasons why not.
      damaged: names of images whose maps cannot be read; the first few.
      damaged_count: how many there are.
    """

    explained: int = 0
    failed: int = 0
    reasons: list[str] = dataclasses.field(default_factory=list)
    damaged: list[str] = dataclasses.field(default_factory=list)
    damaged_count: int = 0

    @property
    def notes(self) -> list[str]:
        """Sentences on images that were left out."""
        told = []
        if self.failed:
            told.append(
                f"{counted(self.failed, 'image')} could not be explained and "
                f"{'is' if self.failed == 1 else 'are'} left out: {'; '.join(self.reasons)}"
            )
        if self.damaged_count:
            more = self.damaged_count - len(self.damaged)
            names = ", ".join(self.damaged) + (f", and {more} more" if more else "")
            told.append(
                f"the maps of {counted(self.damaged_count, 'image')} cannot be read; questions "
                f"about maps leave them out: {names}"
            )
        return told


def ask(results: Results, questions: Sequence[Question]) -> Passed:
    """Shows every image to every question, one in memory at a time.

    Args:
      results: of a run.
      questions: those that read maps do not see images whose maps are damaged.
    """
    of_maps = [question for question in questions if question.reads_maps]
    of_lines = [question for question in questions if not question.reads_maps]
    passed = Passed()
    for number, result in enumerate(results):
        if result.error is not None:
            passed.failed += 1
            if len(passed.reasons) < MOST_REASONS:
                passed.reasons.append(f"{printable(result.file)}: {result.error}")
            continue
        passed.explained += 1
        image = SeenImage(number, result)
        for question in of_lines:
            question.add(image)
        if not of_maps:
            continue
        try:
            _ = result.sentences
        except DamagedMapsError:
            passed.damaged_count += 1
            if len(passed.damaged) < MOST_REASONS:
                passed.damaged.append(printable(result.file))
            continue
        for question in of_maps:
            question.add(image)
    return passed
