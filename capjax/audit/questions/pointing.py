"""Which words look at the wrong place?"""

from capjax.audit.boxed import Boxed
from capjax.audit.contract import Answered, Question, SeenImage
from capjax.audit.tally import Key, Tally, collect
from capjax.metrics.corpus.moments import Moments


class Pointing(Question):
    """The pointing game of every word that names an object with a box.

    Args:
      boxed: says where objects are; None: nobody gave boxes.
      least: images of a word.
      examples: to show.
    """

    TITLE = "Which words look at the wrong place?"
    ABOUT = (
        "Pointing game: whether the largest value of a word’s map lies in a box of what the word "
        "names; of several largest values the share that does. Beside it what a random pixel and "
        "the middle of the image would hit. Flagged: surely (sign test, Holm’s correction over all "
        "rows) misses in more than half of the images."
    )

    def __init__(self, boxed: Boxed | None, *, least: int, examples: int) -> None:
        self._boxed = boxed
        self._tally = Tally(0.5, high=True, least=least, examples=examples)
        self._chance: dict[Key, tuple[Moments, Moments]] = {}

    @property
    def reads_maps(self) -> bool:
        """See `Question`."""
        return self._boxed is not None

    def add(self, image: SeenImage) -> None:
        """See `Question`."""
        if self._boxed is None:
            return
        values: dict[Key, list[float]] = {}
        for own in self._boxed.pointed(image):
            key = own.method, own.phrase
            collect(values, key, 1 - own.hit)
            random, centre = self._chance.setdefault(key, (Moments(), Moments()))
            random.add(own.random)
            centre.add(own.centre)
        self._tally.add(image.number, values)

    def result(self) -> Answered:
        """See `Question`."""
        if self._boxed is None:
            return Answered(missing=["boxes of objects were not given: add --boxes=COCO_JSON"])
        chance = self._chance.items()
        more = {
            "random pixel misses": {key: 1 - own[0].mean for key, own in chance},
            "middle misses": {key: 1 - own[1].mean for key, own in chance},
        }
        table = self._tally.table(("method", "word"), "misses", None, more)
        return self._tally.answered(
            "words that look at the wrong place",
            table,
            by=" by method",
            that="mostly miss what they name",
            about="{key}: points beside it",
            missing=self._boxed.notes,
        )
