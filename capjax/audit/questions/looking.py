"""Which words are said without looking at the image?"""

from capjax.audit.contract import Answered, Question, SeenImage
from capjax.audit.tally import Key, Tally, collect
from capjax.audit.vocabulary import Vocabulary
from capjax.explainers.language.visual_information import THRESHOLD
from capjax.runtime.files import counted


class Looking(Question):
    """Visual information of content words.

    Args:
      vocabulary: words to ask about.
      least: images of a word.
      examples: to show.
    """

    TITLE = "Which words are said without looking?"
    ABOUT = (
        "Bits of a word that come from the image: how much more probable this image makes it than "
        f"other pictures do, after the same words. Below {THRESHOLD:g} bit a word is said without "
        "looking. Flagged: surely (sign test, Holm’s correction over all rows) in more than half "
        "of the images whose sentences have it. Words that name nothing in a picture are not asked."
    )

    def __init__(self, vocabulary: Vocabulary, *, least: int, examples: int) -> None:
        self._words = vocabulary.content
        self._tally = Tally(THRESHOLD, high=False, least=least, examples=examples)
        self._without = 0

    def add(self, image: SeenImage) -> None:
        """See `Question`."""
        values: dict[Key, list[float]] = {}
        known = False
        for answer in image.result.answers:
            visual = answer.visual_information
            if visual is None or visual.bits is None:
                continue
            known = True
            for word, bits in zip(answer.words, visual.bits, strict=False):  # then of phrases
                if word.lower() in self._words and bits == bits:
                    collect(values, (word.lower(),), bits)
        self._without += not known
        self._tally.add(image.number, values)

    def result(self) -> Answered:
        """See `Question`."""
        missing = []
        if self._without:
            missing = [
                f"{counted(self._without, 'image')} without visual information with other "
                "pictures: explain them without --no-visual-information, by a model that keeps "
                "other pictures"
            ]
        if not self._tally.entries:
            return Answered(missing=missing)
        table = self._tally.table(("word",), "without looking", "bits")
        return self._tally.answered(
            "words said without looking",
            table,
            that="are mostly said without looking",
            about="{key}: {value:.2f} bits from the image",
            missing=missing,
        )
