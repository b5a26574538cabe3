"""Which maps are flat or degenerate, by method and by word? From flags, without reading maps."""

from capjax.audit.contract import Answered, Question, SeenImage
from capjax.audit.tally import Key, Tally, collect
from capjax.audit.vocabulary import Vocabulary
from capjax.explainers.flags import FLAT_ENTROPY, empty_words
from capjax.metrics.corpus.moments import Moments
from capjax.runtime.files import counted
from capjax.studies.contract import Table


class Emptiness(Question):
    """Maps that say nothing of where: constant ones, uniform ones, and those all alike.

    Args:
      vocabulary: words to ask about.
      least: images of a word.
      examples: to show.
    """

    TITLE = "Which maps are flat or degenerate?"
    ABOUT = (
        "A map is empty when it is constant or when its entropy is above "
        f"{FLAT_ENTROPY:g} of a uniform map’s. A sentence is flat when its maps hardly differ from "
        "word to word, or are nearly uniform on average. Flagged: a word whose maps by a method "
        "are surely (sign test, Holm’s correction over all rows) empty in more than half of the "
        "images."
    )

    def __init__(self, vocabulary: Vocabulary, *, least: int, examples: int) -> None:
        self._words = vocabulary.counts
        self._tally = Tally(0.5, high=True, least=least, examples=examples)
        self._sentences: dict[str, list[int]] = {}
        self._entropy: dict[str, Moments] = {}
        self._by_word: dict[Key, Moments] = {}
        self._unknown = 0

    def add(self, image: SeenImage) -> None:
        """See `Question`."""
        values: dict[Key, list[float]] = {}
        unknown = False
        for answer in image.result.answers:
            for method, stored in answer.methods.items():
                flags = stored.flags
                entropy = flags.get("entropy")
                if entropy is None or "degenerate_words" not in flags:
                    unknown = True
                    continue
                counts = self._sentences.setdefault(method, [0, 0, 0, 0])
                empty = empty_words(flags)
                counts[0] += 1
                counts[1] += bool(flags.get("flat"))
                counts[2] += len(empty)
                counts[3] += sum(empty)
                moments = self._entropy.setdefault(method, Moments())
                for word, own, hollow in zip(answer.words, entropy, empty, strict=True):
                    moments.add(own)
                    if word.lower() in self._words:
                        key = (method, word.lower())
                        collect(values, key, hollow)
                        self._by_word.setdefault(key, Moments()).add(own)
        self._unknown += unknown
        self._tally.add(image.number, values)

    def result(self) -> Answered:
        """See `Question`."""
        missing = []
        if self._unknown:
            missing = [
                f"{counted(self._unknown, 'image')} without the flags `entropy` and "
                "`degenerate_words`, which an older version did not write: explain them again"
            ]
        if not self._sentences:
            return Answered(missing=missing)
        rows = tuple(
            (method, counts[0], counts[1] / counts[0], counts[2], counts[3] / counts[2], own.mean)
            for method, counts in self._sentences.items()
            if counts[2] and (own := self._entropy[method])
        )
        names = ("method", "sentences", "flat", "words", "empty", "mean entropy")
        more = {"mean entropy": {key: own.mean for key, own in self._by_word.items()}}
        table = self._tally.table(("method", "word"), "empty", None, more)
        return self._tally.answered(
            "empty maps by word",
            table,
            by=" by method",
            that="have mostly empty maps",
            about="{key}: an empty map",
            missing=missing,
            more={"empty maps by method": Table(names, rows)},
        )
