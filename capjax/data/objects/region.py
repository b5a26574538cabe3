"""One object of a photograph as a mask, and which objects are fit to be removed."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Literal, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, UInt8

from capjax.ops.boxes import Box, pixels_between

Outline = Literal["polygon", "runs", "box", "picture", "scene", "proposal"]
"""What a mask was made from: a box covers more than its object."""


@dataclasses.dataclass(frozen=True, eq=False)
class Region:
    """One object of a photograph.

    Attributes:
      category: what it is, such as "dog"; None where nobody says.
      mask: [H W] its pixels, in the photograph's own size.
      outline: what the mask was made from.
      crowd: whether this is a region of many objects that were not told apart.
      score: of a detector, 0 to 1; None of annotations.
    """

    category: str | None
    mask: Bool[np.ndarray, "H W"]
    outline: Outline
    crowd: bool = False
    score: float | None = None

    @property
    def area(self) -> float:
        """Share of the photograph's pixels."""
        return int(np.count_nonzero(self.mask)) / self.mask.size


class ObjectSource(Protocol):
    """Says which objects a photograph has."""

    def regions(self, name: str, image: UInt8[np.ndarray, "H W 3"]) -> Sequence[Region] | None:
        """The objects, in a fixed order; None for a photograph that the source does not know.

        Args:
          name: path of the photograph, as its shell names it.
          image: upright and whole.

        Raises:
          ValueError: what is said of the photograph does not fit it; the text names both.
        """
        ...


def ends(name: str) -> list[PurePosixPath]:
    """What files may call a photograph: its path and all ends of it, the longest first.

    a/b.jpg and b.jpg of /a/b.jpg; b.jpg of ../b.jpg, for nothing outside a folder is looked up.
    """
    parts = PurePosixPath(name.lstrip("/")).parts
    known = [parts[start:] for start in range(len(parts))]
    return [PurePosixPath(*own) for own in known if ".." not in own]


class Skipped(NamedTuple):
    """An object that is left as it is, by its number in the photograph, and why."""

    number: int
    region: Region
    reason: str


@dataclasses.dataclass(frozen=True)
class Limits:
    """Which objects of a photograph are fit to be removed.

    Attributes:
      least, most: shares of the photograph's pixels; an object of exactly this size is taken.
      score: the least of a detector; annotations have none and pass.
      count: most objects a photograph, drawn at random where there are more; 0 for all.
    """

    least: float = 0.001
    most: float = 0.25
    score: float = 0.5
    count: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most <= 1:
            raise ValueError(
                f"got sizes from {self.least} to {self.most}; expected shares of the photograph, "
                "0 <= least <= most <= 1"
            )
        if not 0 <= self.score <= 1:
            raise ValueError(f"got the score {self.score}; expected one from 0 to 1")
        if self.count < 0:
            raise ValueError(f"got {self.count} objects a photograph; expected 0 for all, or more")

    def choose(
        self, regions: Sequence[Region], draw: np.random.Generator
    ) -> tuple[list[tuple[int, Region]], list[Skipped]]:
        """(number, region) of those that are fit, in order, and the others with their reasons.

        Args:
          regions: of one photograph.
          draw: of `count` of them; nothing is drawn where there are not more.
        """
        fit, skipped = list[tuple[int, Region]](), list[Skipped]()
        for number, region in enumerate(regions):
            reason = self._reason(region)
            if reason is None:
                fit.append((number, region))
            else:
                skipped.append(Skipped(number, region, reason))
        if self.count and len(fit) > self.count:
            drawn = set(draw.permutation(len(fit))[: self.count].tolist())
            others = [own for at, own in enumerate(fit) if at not in drawn]
            fit = [own for at, own in enumerate(fit) if at in drawn]
            reason = f"not among the {self.count} that were drawn"
            skipped += [Skipped(number, region, reason) for number, region in others]
        return fit, sorted(skipped, key=lambda one: one.number)

    def _reason(self, region: Region) -> str | None:
        if region.crowd:
            return "a crowd, not one object"
        if region.score is not None and region.score < self.score:
            return f"its score {region.score:.2f} is under {self.score:g}"
        area = region.area
        if not area:
            return "it has no pixel"
        if area < self.least:
            return f"{100 * area:.3g} % of the picture, under {100 * self.least:g} %"
        if area > self.most:
            return f"{100 * area:.3g} % of the picture, over {100 * self.most:g} %"
        return None


def titles(regions: Sequence[Region]) -> list[str]:
    """A name a region that no other one of the photograph has: "dog", "dog 2", "object"."""
    seen: dict[str, int] = {}
    found = []
    for region in regions:
        name = region.category or "object"
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return found


def box_of(mask: Bool[np.ndarray, "H W"]) -> Box:
    """(x0, y0, x1, y1) of a mask's pixels, both ends inclusive.

    Raises:
      ValueError: it has none.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise ValueError("got a mask without a pixel; an empty one has no box")
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def box_mask(box: Sequence[float], size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """Pixels whose centre a box (x, y, width, height) covers: at least one of a box in the picture,
    none of a box beside it.

    Args:
      box: in pixels of a picture of `size`; what reaches beyond it is cut.
      size: (height, width).
    """
    ends = []
    for start, length, side in zip(box[:2], box[2:], size[::-1], strict=True):
        first, last = pixels_between(start, start + length)
        if first > last:
            first = last = math.floor(start + length / 2)
        ends.append((max(0, first), min(side - 1, last)))
    (left, right), (top, bottom) = ends
    mask = np.zeros(size, bool)
    mask[top : max(0, bottom + 1), left : max(0, right + 1)] = True
    return mask


def at_size(mask: Bool[np.ndarray, "h w"], size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """A mask for a copy of its picture in another size: each pixel takes the one at its centre."""
    if mask.shape == size:
        return mask
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for old, new in zip(mask.shape, size, strict=True)
    )
    return mask[rows[:, None], columns]


def place(mask: Bool[np.ndarray, "H W"]) -> dict[str, float]:
    """Where a mask lies: what of a photograph's layout may decide how much its object matters.

    Returns:
      `centre`: distance of its middle from the photograph's, 0 to 1 at a corner; `lower edge`: of
      its lowest pixel, 0 at the top to 1.
    """
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    x, y = (columns.mean() + 0.5) / width - 0.5, (rows.mean() + 0.5) / height - 0.5
    return {
        "centre": float(np.hypot(x, y) / np.hypot(0.5, 0.5)),
        "lower edge": float((rows.max() + 1) / height),
    }


def covered(regions: Sequence[Region]) -> list[float]:
    """Of each region the share of its box that lies in masks of other ones.

    What stands in front of an object, or behind it in its box: files of boxes do not tell them
    apart.
    """
    found = []
    for number, region in enumerate(regions):
        left, top, right, bottom = box_of(region.mask)
        window = np.s_[top : bottom + 1, left : right + 1]
        others = [own.mask[window] for at, own in enumerate(regions) if at != number]
        inside = np.any(others, axis=0) if others else np.zeros_like(region.mask[window])
        found.append(float(np.mean(inside & ~region.mask[window])))
    return found
