"""Which words are not to be believed?"""

from capjax.audit.contract import Answered, Question, SeenImage
from capjax.audit.tally import Key, Tally, collect
from capjax.runtime.files import counted
from capjax.studies.doubt.reasons import DOUBTED


class Doubts(Question):
    """Stored doubts of the object words of captions.

    Args:
      least: images of a word.
      examples: to show.
    """

    TITLE = "Which words are not to be believed?"
    ABOUT = (
        "The probability that an object word of a caption names nothing in the image, as the run "
        f"stored it; from {DOUBTED:g} on a word is doubted. Flagged: surely (sign test, Holm’s "
        "correction over all rows) doubted in more than half of the images whose captions have it."
    )

    def __init__(self, *, least: int, examples: int) -> None:
        self._tally = Tally(DOUBTED, high=True, least=least, examples=examples)
        self._without = 0

    def add(self, image: SeenImage) -> None:
        """See `Question`."""
        doubts = image.result.doubts
        self._without += doubts is None
        values: dict[Key, list[float]] = {}
        for doubt in doubts or ():
            collect(values, (doubt.word.lower(),), doubt.hallucinated)
        self._tally.add(image.number, values)

    def result(self) -> Answered:
        """See `Question`."""
        missing = []
        if self._without:
            missing = [
                f"{counted(self._without, 'image')} without doubts: explain them with "
                "explain.py --doubt"
            ]
        if not self._tally.entries:
            return Answered(missing=missing)
        table = self._tally.table(("word",), "doubted", "probability that nothing is there")
        return self._tally.answered(
            "words not to believe",
            table,
            that="are mostly doubted",
            about="{key}: names nothing with a probability of {value:.2f}",
            missing=missing,
        )
