"""Photographs one by one, all their changed copies as one stream of batches: the study's core."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8

from capjax.captioner import Captioner
from capjax.data.boxes.object_words import ObjectWords
from capjax.data.objects.region import ObjectSource, Region, at_size
from capjax.data.pictures.images import prepare
from capjax.explainers.choosing import Chosen
from capjax.metrics.similarity import Distance
from capjax.studies.contract import Finding
from capjax.studies.counterfactual.maps import mass_on
from capjax.studies.counterfactual.measures import Whole
from capjax.studies.counterfactual.plan import Asking, Plan
from capjax.studies.counterfactual.reading import Read, Remover, Row, read_rows
from capjax.studies.counterfactual.telling import Told
from capjax.studies.photographs import Named
from capjax.types import Preprocessing


@dataclasses.dataclass(frozen=True, eq=False)
class Removing:
    """All that the study needs: objects, fills, and what is asked.

    Attributes:
      asking: what to remove.
      source: says which objects a photograph has.
      removers: by name, one for each of `asking.fills`.
      distance: of two sentences.
      words: which words name which class.
      side: pixels of the longest side to which larger photographs are brought first.
      at_once: pictures in a batch.
      methods: whose maps of the photograph's caption are compared with importance.
    """

    asking: Asking
    source: ObjectSource
    removers: Mapping[str, Remover]
    distance: Distance
    words: ObjectWords
    side: int = 640
    at_once: int = 32
    methods: tuple[Chosen, ...] = ()

    def findings(self, captioner: Captioner, photographs: Iterable[Named]) -> Iterator[Finding]:
        """One finding a photograph, in order; those without an object to remove are refused."""
        waiting = collections.deque[tuple[str, Plan | str]]()

        def rows() -> Iterator[Row]:
            for number, (name, whole) in enumerate(photographs):
                image = reduced(whole, self.side)
                plan = self._plan(name, whole, image)
                waiting.append((name, plan))
                if not isinstance(plan, str):
                    yield Row(number, image)
                    for removal in plan.removals:
                        yield Row(number, image, removal.mask, removal.fill)

        reads = list[Read]()
        for read in read_rows(captioner, rows(), self.removers, self.at_once):
            while isinstance(waiting[0][1], str):
                yield self._refused(*waiting.popleft())
            name, plan = waiting[0]
            assert not isinstance(plan, str)
            reads.append(self._lighter(read, plan, len(reads) - 1))
            if len(reads) == 1 + len(plan.removals):
                waiting.popleft()
                yield self._found(captioner, name, plan, reads)
                reads = []
        while waiting:
            yield self._refused(*waiting.popleft())

    def _plan(
        self, name: str, whole: UInt8[np.ndarray, "H2 W2 3"], image: UInt8[np.ndarray, "H W 3"]
    ) -> Plan | str:
        """What to do, or why there is nothing to do."""
        try:
            regions = self.source.regions(name, whole)
        except ValueError as error:
            return str(error)
        if regions is None:
            return "nothing is known of its objects"
        size = (image.shape[0], image.shape[1])
        own = [dataclasses.replace(r, mask=at_size(r.mask, size)) for r in regions]
        plan = self.asking.plan(image, own)
        return plan if plan.chosen else plan.nothing

    def _lighter(self, read: Read, plan: Plan, at: int) -> Read:
        """The read, its picture let go where nobody looks at it."""
        if at < 0:
            return read
        removal = plan.removals[at]
        if removal.kind == "object" and removal.fill == self.asking.fills[0]:
            return read
        return dataclasses.replace(read, picture=None)

    def _refused(self, name: str, reason: Plan | str) -> Finding:
        return Finding(name, refused=str(reason))

    def _found(self, captioner: Captioner, name: str, plan: Plan, reads: list[Read]) -> Finding:
        refused = {at: own.refused for at, own in enumerate(reads[1:]) if own.refused is not None}
        if refused:
            plan, left = plan.but(refused)
            if not plan.chosen:
                return self._refused(name, plan.nothing)
            reads = [reads[0], *(reads[1 + at] for at in left)]
        classes = {one.category for one in plan.every if one.category is not None}
        whole = Whole.of(captioner, reads[0], self.words.including(classes))
        lying: dict[str, Any] = {}
        if self.methods:
            assert reads[0].picture is not None, "the photograph itself is never let go"
            masks = [region.mask for region in plan.chosen]
            given = captioner, reads[0].picture, whole.caption
            lying = mass_on(*given, self.methods, masks)
        return Told(captioner, name, plan, whole, reads[1:], self.distance, lying).finding()


def reduced(image: UInt8[np.ndarray, "H W 3"], side: int) -> UInt8[np.ndarray, "H W 3"]:
    """The photograph with a longest side of at most `side` pixels."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return prepare(image, Preprocessing(size))[0]


@dataclasses.dataclass(frozen=True, eq=False)
class GivenObjects:
    """Objects that the caller names, the same for every photograph of their size.

    Attributes:
      given: of one photograph.
    """

    given: tuple[Region, ...]

    def regions(self, name: str, image: UInt8[np.ndarray, "H W 3"]) -> list[Region] | None:
        """See `ObjectSource`."""
        for region in self.given:
            if region.mask.shape != image.shape[:2]:
                raise ValueError(
                    f"a mask is {region.mask.shape} and its photograph {image.shape[:2]}; give "
                    "masks [H W] in the photograph's size"
                )
        return list(self.given)
