"""The study `Counterfactual`: what a captioner says of each photograph without each object."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from capjax.captioner import Captioner
from capjax.data.boxes.object_words import read_object_words
from capjax.data.objects.region import Limits, ObjectSource
from capjax.explainers.batch import check_methods
from capjax.explainers.choosing import Chosen
from capjax.inpaint.fills.named import DEFAULT
from capjax.metrics.similarity import Distance
from capjax.studies.contract import Finding, Study, Subject, Summary, settings
from capjax.studies.counterfactual.named import (
    EXACT,
    chosen_fill,
    content_of,
    finds_itself,
    object_source,
    remover,
)
from capjax.studies.counterfactual.plan import Asking
from capjax.studies.counterfactual.reading import Remover
from capjax.studies.counterfactual.removing import Removing
from capjax.studies.counterfactual.summary import summarised


@dataclasses.dataclass(frozen=True)
class Counterfactual(Study):
    """What a captioner says of each photograph without each of its objects.

    Every object that is fit is removed, its place filled, and the picture captioned again, as the
    captioner was validated. An object matters by: the distance of both captions; the bits that the
    photograph's own caption loses, and those of the words that name the object (nothing is decoded
    for these); the words that are lost and gained, by their longest common subsequence; and how far
    attention moves. Objects of several photographs share batches.

    Attributes:
      objects: a JSON file (COCO instances, or a detector's results), a folder of masks, or
        proposals, which need no annotations (proposals:gradcam: by another method's maps).
      fill: what fills the place of an object, with options as in blur+sigma=3; `python -m
        capjax.inpaint --list-fills` explains them.
      others: more fills, with commas, to see whether they agree.
      dilate: pixels that an object is grown by first.
      least: smallest share of the photograph that an object may cover.
      most: largest share; objects of exactly these sizes are removed too.
      score: the least of a detector's.
      count: most objects a photograph, drawn where there are more; 0 for all.
      keep: also say what is said where all but an object is removed.
      pairs: most pairs a photograph that are removed together; is a pair more than its sum?
      controls: backgrounds of each object's shape that are removed too; with 2 or more an object
        has a z-score.
      seed: of what is drawn, beside the photograph's pixels.
      methods: whose maps are asked how much of them lies on each object, with commas: do maps know
        what matters?
      similarity: encoder of sentences for their distance: minilm, clip, bert, a folder or
        hf:owner/name; empty for 1 - ROUGE-L, which needs no download.
      side: larger photographs are brought to so many pixels of the longest side first.
      at_once: pictures in a batch.
    """

    objects: str = ""
    fill: str = DEFAULT
    others: str = ""
    dilate: int = 5
    least: float = 0.001
    most: float = 0.25
    score: float = 0.5
    count: int = 0
    keep: bool = False
    pairs: int = 0
    controls: int = 0
    seed: int = 0
    methods: str = ""
    similarity: str = ""
    side: int = 640
    at_once: int = 32

    NAME = "counterfactual"
    COST = "one filled picture and one caption for every object, background and pair"
    SOURCE = "Fosado et al., section 4.2: objects removed by an inpainter"
    OBJECTS = True

    def __post_init__(self) -> None:
        if len(set(self.fills)) < len(self.fills):
            raise ValueError(f"got the fills {', '.join(self.fills)}; name each once")
        _ = self.asking
        for name in ("dilate", "pairs", "controls", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"got {name}={getattr(self, name)}; expected 0 or more")
        for name in ("at_once", "side"):
            if getattr(self, name) < 1:
                raise ValueError(f"got {name}={getattr(self, name)}; expected 1 or more")

    @property
    def fills(self) -> tuple[str, ...]:
        """Names of all fills, the first one first."""
        more = (name.strip() for name in self.others.split(","))
        return (self.fill, *(name for name in more if name))

    @property
    def asking(self) -> Asking:
        """What is asked of each photograph."""
        limits = Limits(self.least, self.most, self.score, self.count)
        more = self.keep, self.pairs, self.controls, self.dilate, self.seed
        return Asking(limits, self.fills, *more)

    def check(self, captioner: Captioner) -> None:
        """See `Study`: the captioner, the objects, the fills and the encoder of sentences."""
        check_captioner(captioner)
        self.source(captioner)
        self._asked(captioner)
        for fill in self.fills:
            self.remover(fill)
        Distance(self.similarity).check()

    def describe(self) -> dict[str, Any]:
        """See `Study`: also what is in the file or folder of objects, and the weights of fills."""
        own = {name: value for name, value in settings(self).items() if name != "at_once"}
        fills = {name: chosen_fill(name).describe() for name in self.fills if name != EXACT}
        return {**own, "content": content_of(self.objects), "fills": fills}

    def left_out(self, captioner: Captioner) -> Sequence[str]:
        """See `Study`: objects of an instances file."""
        found: Sequence[str] = getattr(self.source(captioner), "left_out", ())
        return found

    @property
    def by_path(self) -> bool:
        """See `Study`: files and folders of objects name their photographs."""
        return not finds_itself(self.objects)

    def run(self, captioner: Captioner, subjects: Iterable[Subject]) -> Iterator[Finding]:
        """See `Study`."""
        return self.removing(captioner).findings(
            captioner, ((own.name, own.image) for own in subjects)
        )

    def removing(self, captioner: Captioner) -> Removing:
        """The core with these options."""
        removers = {fill: self.remover(fill) for fill in self.fills}
        return self.removing_by(captioner, self.source(captioner), removers)

    def _asked(self, captioner: Captioner) -> tuple[Chosen, ...]:
        return tuple(check_methods(captioner, self.methods.split(","))) if self.methods else ()

    def removing_by(
        self, captioner: Captioner, source: ObjectSource, removers: Mapping[str, Remover]
    ) -> Removing:
        """The core with these options, of other objects and by other means."""
        return Removing(
            self.asking,
            source,
            removers,
            Distance(self.similarity),
            read_object_words(),
            self.side,
            self.at_once,
            self._asked(captioner),
        )

    def source(self, captioner: Captioner) -> ObjectSource:
        """Where objects come from."""
        return object_source(self.objects, captioner)

    def remover(self, fill: str) -> Remover:
        """What removes objects by a fill.

        Raises:
          ValueError: there is no such fill, or what it needs is missing.
        """
        return remover(chosen_fill(fill), self.dilate)

    def summarise(self, findings: Iterable[Finding]) -> Summary:
        """See `summarised`."""
        return summarised(findings)


def check_captioner(captioner: Captioner) -> None:
    """Raises ValueError for a captioner of clips."""
    if captioner.preprocessing.frames:
        raise ValueError(
            "counterfactual removes objects from photographs, and this captioner sees clips, whose "
            "objects move from frame to frame; give a captioner of images"
        )
