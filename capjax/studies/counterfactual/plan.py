"""What is to be removed of one photograph: each object, pairs of objects, all else, background."""

import collections
import dataclasses
import itertools
import zlib
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from capjax.data.objects.region import Limits, Region, Skipped, box_of, titles
from capjax.inpaint.fills.around import Around
from capjax.inpaint.fills.crops import dilated

Kind = Literal["object", "keep", "pair", "background"]
TRIES = 200
"""Places that are tried for a background of an object's shape."""
_REMOVED: Mapping[Kind, str] = {
    "object": "it",
    "keep": "all but it",
    "pair": "it and another",
    "background": "a background of its shape",
}


class Removal(NamedTuple):
    """One change of a photograph.

    Attributes:
      kind: an object is removed; all but it; two objects; or as much background as it covers.
      objects: numbers among the chosen ones.
      mask: what is removed.
      fill: name of what fills it.
    """

    kind: Kind
    objects: tuple[int, ...]
    mask: Bool[np.ndarray, "H W"]
    fill: str


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """The objects of one photograph, and what is done to it.

    Attributes:
      titles: a name an object that no other one has.
      chosen: the objects that are removed.
      numbers: of the chosen ones among `every`.
      every: all objects of the source.
      skipped: those that are left as they are, and what else cannot be removed of chosen ones.
      removals: in the order in which they are read.
    """

    titles: tuple[str, ...]
    chosen: tuple[Region, ...]
    numbers: tuple[int, ...]
    every: tuple[Region, ...]
    skipped: tuple[Skipped, ...]
    removals: tuple[Removal, ...]

    @property
    def nothing(self) -> str:
        """Why there is nothing to do, of a plan without a chosen object."""
        reasons = collections.Counter(one.reason for one in self.skipped)
        told = [f"{count} × {reason}" for reason, count in reasons.items()]
        count = len(self.every)
        return f"no object to remove of {count}{': ' if told else ''}{'; '.join(told)}"

    def but(self, refused: Mapping[int, str]) -> tuple["Plan", list[int]]:
        """The plan without removals that could not be made, and the numbers of those left of it.

        An object that the first fill cannot remove is left as it is, by all fills.

        Args:
          refused: number of a removal -> why.
        """
        first = self.removals[0].fill
        told, lost = dict[int, str](), set[int]()
        for at, why in refused.items():
            kind, objects, _, fill = self.removals[at]
            told[at] = f"{_REMOVED[kind]} cannot be removed by {fill}: {why}"
            if (kind, fill) == ("object", first):
                lost |= {*objects}
        skipped = [
            Skipped(self.numbers[own], self.chosen[own], why)
            for at, why in told.items()
            for own in self.removals[at].objects[:1]
        ]
        left = [
            at
            for at, own in enumerate(self.removals)
            if at not in refused and lost.isdisjoint(own.objects)
        ]
        stay = [at for at in range(len(self.chosen)) if at not in lost]
        removals = (self.removals[at] for at in left)
        return Plan(
            tuple(self.titles[at] for at in stay),
            tuple(self.chosen[at] for at in stay),
            tuple(self.numbers[at] for at in stay),
            self.every,
            tuple(sorted((*self.skipped, *skipped), key=lambda one: one.number)),
            tuple(own._replace(objects=tuple(map(stay.index, own.objects))) for own in removals),
        ), left


@dataclasses.dataclass(frozen=True)
class Asking:
    """What is asked of each photograph.

    Attributes:
      limits: which objects.
      fills: names; the first one makes all but the plain removals alone.
      keep: also remove all but each object.
      pairs: most pairs of objects a photograph that are removed together, drawn where there are
        more.
      controls: backgrounds of each object's shape and size that are removed too.
      dilate: pixels that removers grow a mask by.
      seed: of all draws, beside the photograph's own pixels.
    """

    limits: Limits
    fills: tuple[str, ...]
    keep: bool = False
    pairs: int = 0
    controls: int = 0
    dilate: int = 0
    seed: int = 0

    def plan(self, image: UInt8[np.ndarray, "H W 3"], regions: Sequence[Region]) -> Plan:
        """The plan of one photograph; draws depend on its pixels alone."""
        own = zlib.crc32(np.ascontiguousarray(image).data)

        def draw(*purpose: int) -> np.random.Generator:
            return np.random.default_rng((own, self.seed, *purpose))

        fit, skipped = self.limits.choose(regions, draw(0))
        refusal = Around(self.dilate, feather=0).refusal
        reasons = [refusal(region.mask) for _, region in fit]
        skipped += [Skipped(*own, why) for own, why in zip(fit, reasons, strict=True) if why]
        fit = [own for own, why in zip(fit, reasons, strict=True) if not why]
        numbers, chosen = tuple(at for at, _ in fit), tuple(region for _, region in fit)
        first = self.fills[0]
        removals = [
            Removal("object", (at,), region.mask, fill)
            for fill in self.fills
            for at, region in enumerate(chosen)
        ]
        if self.keep:
            rest = [~dilated(region.mask, self.dilate) for region in chosen]  # which grows again
            removals += [
                Removal("keep", (at,), mask, first) for at, mask in enumerate(rest) if mask.any()
            ]
        for one, other in _drawn_pairs(len(chosen), self.pairs, draw(1)):
            both = chosen[one].mask | chosen[other].mask
            if not refusal(both):
                removals.append(Removal("pair", (one, other), both, first))
        if self.controls and chosen:  # a background grows too, and not into an object
            taken = dilated(np.any([region.mask for region in regions], axis=0), self.dilate)
            for at, region in enumerate(chosen):
                place = draw(2, zlib.crc32(np.ascontiguousarray(region.mask).data))
                masks = backgrounds(region.mask, taken, self.controls, place)
                removals += [Removal("background", (at,), mask, first) for mask in masks]
        names = titles(regions)
        return Plan(
            tuple(names[number] for number in numbers),
            chosen,
            numbers,
            tuple(regions),
            tuple(skipped),
            tuple(removals),
        )


def _drawn_pairs(count: int, most: int, draw: np.random.Generator) -> list[tuple[int, int]]:
    pairs = list(itertools.combinations(range(count), 2))
    if len(pairs) <= most:
        return pairs
    return [pairs[at] for at in sorted(draw.permutation(len(pairs))[:most].tolist())]


def backgrounds(
    mask: Bool[np.ndarray, "H W"],
    taken: Bool[np.ndarray, "H W"],
    count: int,
    draw: np.random.Generator,
) -> list[Bool[np.ndarray, "H W"]]:
    """Masks of an object's shape, mirrored or not, elsewhere: of as many pixels, on no object.

    As many as asked for, or fewer where `TRIES` places for each were all taken.

    Args:
      mask: of the object.
      taken: pixels of all objects, and what is to stay free around them.
      count: masks to find.
      draw: of places.
    """
    left, top, right, bottom = box_of(mask)
    shape = mask[top : bottom + 1, left : right + 1]
    (height, width), found = shape.shape, list[np.ndarray]()
    for _ in range(TRIES * count):
        turned = shape[:, ::-1] if draw.random() < 0.5 else shape
        y = int(draw.integers(mask.shape[0] - height + 1))
        x = int(draw.integers(mask.shape[1] - width + 1))
        if not np.any(taken[y : y + height, x : x + width] & turned):
            placed = np.zeros_like(mask)
            placed[y : y + height, x : x + width] = turned
            found.append(placed)
            if len(found) == count:
                break
    return found
