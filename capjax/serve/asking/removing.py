"""The question what is said of a picture without an object that somebody points at."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from capjax.captioner import Captioner
from capjax.data.boxes.instances import fill_polygon
from capjax.data.objects.region import ObjectSource, Region
from capjax.explainers.programs import Watch
from capjax.inpaint.fills.named import DEFAULT
from capjax.serve.asking.served import Models, Served
from capjax.serve.limits import Limits
from capjax.serve.uploads import Upload
from capjax.studies.counterfactual.named import PROPOSALS
from capjax.studies.counterfactual.reading import Remover
from capjax.studies.counterfactual.removing import Removing
from capjax.studies.counterfactual.study import Counterfactual, check_captioner

Point = tuple[float, float]
"""(x, y) as shares of the picture's width and height."""
LEAST, MOST = 0.0005, 0.6
"""Shares of a picture that somebody's own region may cover."""
AT_ONCE = 2
"""Pictures in a batch: one object is the picture with it and without; and work ends between two."""


@dataclasses.dataclass(frozen=True)
class Without:
    """The picture without each of its objects, one object or a region, and what is said of it.

    Attributes:
      model: who is asked.
      at: a point of the object to remove, of those that are proposed.
      regions: polygons to remove; with neither, every object that is proposed.
      fill: what fills the hole.
      viewed: whether the answer has the page's view of it too.
    """

    model: str
    at: Point | None = None
    regions: tuple[tuple[Point, ...], ...] = ()
    fill: str = DEFAULT
    viewed: bool = False

    quick = False

    def study(self, watch: Watch | None = None) -> "Pointed":
        """As a study, which tells of each batch."""
        own = self.at or self.regions
        return Pointed(
            objects=PROPOSALS,
            fill=self.fill,
            at_once=AT_ONCE,
            pointed=self.at,
            drawn=self.regions,
            watch=watch,
            least=LEAST if own else Counterfactual.least,
            most=MOST if own else Counterfactual.most,
        )

    def check(self, model: Served, limits: Limits) -> None:
        """Raises ValueError for a captioner of clips."""
        check_captioner(model.captioner)

    def run(self, models: Models, uploads: Sequence[Upload], watch: Watch) -> list[dict[str, Any]]:
        """See `worker.Asked`."""
        model, study = models[self.model], self.study(watch)
        model.programs.used((self.model, study.NAME))
        return model.findings(study, uploads, watch, viewed=self.viewed)


@dataclasses.dataclass(frozen=True, eq=False)
class Pointed(Counterfactual):
    """`Counterfactual` of what somebody points at or draws, which tells of its progress.

    Attributes:
      pointed, drawn: see `Without`.
      watch: hears of each batch; what it raises ends the work.
    """

    pointed: Point | None = None
    drawn: tuple[tuple[Point, ...], ...] = ()
    watch: Watch | None = None

    def describe(self) -> dict[str, Any]:
        """See `Counterfactual`."""
        return {name: value for name, value in super().describe().items() if name != "watch"}

    def source(self, captioner: Captioner) -> ObjectSource:
        """What was drawn, or the object at a point, or all that are proposed."""
        if self.drawn:
            return Drawn(self.drawn)
        every = super().source(captioner)
        return every if self.pointed is None else AtPoint(every, self.pointed)

    def removing_by(
        self, captioner: Captioner, source: ObjectSource, removers: Mapping[str, Remover]
    ) -> Removing:
        """See `Counterfactual`; objects are counted, and each batch is told of."""
        told = Telling(self.watch, source)
        heard = {name: functools.partial(told.removed, own) for name, own in removers.items()}
        return super().removing_by(captioner, told, heard)


class Telling:
    """A source of objects that counts them, and tells how many of them are removed so far."""

    def __init__(self, watch: Watch | None, source: ObjectSource) -> None:
        """Takes who hears of it, and the source."""
        self.watch = watch
        self.source = source
        self.done = 0
        self.count = 0

    def regions(self, name: str, image: UInt8[np.ndarray, "H W 3"]) -> Sequence[Region] | None:
        """See `ObjectSource`."""
        found = self.source.regions(name, image)
        self.count += len(found or ())
        return found

    def removed(
        self, remover: Remover, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]
    ) -> Sequence[np.ndarray]:
        """What a remover makes of a batch, told of before."""
        if self.watch is not None:
            self.watch(Pointed.NAME, self.done, self.count)
        self.done += len(images)
        return remover(images, masks)


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Objects as polygons, of a picture of any size.

    Attributes:
      polygons: corners.
    """

    polygons: tuple[tuple[Point, ...], ...]

    def regions(self, name: str, image: UInt8[np.ndarray, "H W 3"]) -> list[Region]:
        """See `ObjectSource`."""
        height, width = image.shape[:2]
        masks = [
            fill_polygon((np.array(polygon) * (width, height)).ravel().tolist(), height, width)
            for polygon in self.polygons
        ]
        return [Region("region", mask, "polygon") for mask in masks]


@dataclasses.dataclass(frozen=True)
class AtPoint:
    """The smallest object of a source that covers a point.

    Attributes:
      every: the source.
      point: where.
    """

    every: ObjectSource
    point: Point

    def regions(self, name: str, image: UInt8[np.ndarray, "H W 3"]) -> list[Region]:
        """See `ObjectSource`.

        Raises:
          ValueError: none covers it.
        """
        height, width = image.shape[:2]
        row, column = (
            min(size - 1, int(share * size))
            for size, share in ((height, self.point[1]), (width, self.point[0]))
        )
        found = [one for one in self.every.regions(name, image) or () if one.mask[row, column]]
        if not found:
            raise ValueError("no object is found there; draw around what is to be removed")
        return [min(found, key=lambda one: one.area)]
