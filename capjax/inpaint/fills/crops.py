"""Where to cut a picture around a hole, and how to bring what was cut to another size and back.

A hole in several far parts has one crop a part; parts that lie within each other's context share
one. A crop may reach beyond the picture, which is mirrored there.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from scipy import ndimage

Mask = Bool[np.ndarray, "H W"]
Picture = UInt8[np.ndarray, "H W 3"]


@dataclasses.dataclass(frozen=True)
class Box:
    """A rectangle of pixels; it may reach beyond its picture.

    Attributes:
      top, left, bottom, right: the last two excluded.
    """

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """For arrays [H W …]; of a box within its picture."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def moved(self, down: int, right: int) -> "Box":
        """The same elsewhere."""
        return Box(self.top + down, self.left + right, self.bottom + down, self.right + right)

    def grown(self, by: int, shape: tuple[int, ...]) -> "Box":
        """Larger on every side, within a picture of `shape`."""
        return Box(
            max(0, self.top - by),
            max(0, self.left - by),
            min(shape[0], self.bottom + by),
            min(shape[1], self.right + by),
        )


def bounds(mask: Mask) -> Box:
    """The smallest box that holds a mask, which is not empty."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def dilated(mask: Mask, by: int) -> Mask:
    """The pixels within a distance of a mask, which is not empty."""
    if not by:
        return mask.copy()
    place = bounds(mask).grown(by, mask.shape).slices
    found = np.zeros_like(mask)
    found[place] = ndimage.distance_transform_edt(~mask[place]) <= by
    return found


def opacity(hole: Mask, inner: Mask, part: Box, feather: int) -> Float[np.ndarray, "h w"]:
    """Share of the fill in each pixel of a part: 0 outside `hole`, rising over `feather` pixels.

    The border of the picture is no rim. Within `inner` the share is 1, whatever the distance.
    """
    place = part.grown(1, hole.shape)
    own = hole[place.slices]
    share = own.astype(np.float32)
    if feather and not own.all():
        share = np.minimum(ndimage.distance_transform_edt(own) / (feather + 1), 1)
        share[inner[place.slices]] = 1
    start = part.top - place.top, part.left - place.left
    return share[start[0] :, start[1] :][: part.height, : part.width]


@dataclasses.dataclass(frozen=True)
class Crop:
    """One part of a hole, and what to cut for it.

    Attributes:
      part: the box of the part, within the picture.
      box: to cut.
    """

    part: Box
    box: Box

    @property
    def side(self) -> int:
        """The longer side of what is cut."""
        return max(self.box.height, self.box.width)

    @property
    def need(self) -> int:
        """The longer side of the part."""
        return max(self.part.height, self.part.width)


def crops(hole: Mask, context: float, least: int, *, square: bool) -> Iterator[Crop]:
    """Crops around the parts of a hole, which is not empty; each part is in one of them.

    Args:
      hole: [H W].
      context: side of a crop, in sides of its part.
      least: pixels of context on each side, where the picture has them; of a square, of its side.
      square: crops are squares no larger than the longer side of the picture, and may reach beyond
        the shorter one; else they end at the picture's border.
    """
    margin = 0 if square else least
    for part in _parts(hole, context, margin):
        crop = Crop(part, part.grown(_around(part, context, margin), hole.shape))
        if square:
            wanted = max(least, math.ceil(context * crop.need))
            crop = Crop(part, _square(part, min(wanted, max(hole.shape)), hole.shape))
        yield crop


def _around(part: Box, context: float, margin: int) -> int:
    need = max(part.height, part.width)
    return max(1, margin, math.ceil((context - 1) / 2 * need))


def _parts(hole: Mask, context: float, margin: int) -> list[Box]:
    """Boxes of the parts of a hole, of which none reaches into the context of another."""
    whole = bounds(hole)  # contexts that meet at all meet within it
    hole = hole[whole.slices]
    labels, count = ndimage.label(hole, structure=np.ones((3, 3)))
    while True:
        parts = [
            Box(rows.start, columns.start, rows.stop, columns.stop)
            for rows, columns in ndimage.find_objects(labels)
        ]
        canvas = np.zeros_like(hole)
        for part in parts:
            canvas[part.grown(_around(part, context, margin), hole.shape).slices] = True
        zones, found = ndimage.label(canvas, structure=np.ones((3, 3)))
        if found == count:
            return [part.moved(whole.top, whole.left) for part in parts]
        labels, count = np.where(hole, zones, 0), found


def _square(part: Box, side: int, shape: tuple[int, ...]) -> Box:
    top = _start(part.top, part.bottom, side, shape[0])
    left = _start(part.left, part.right, side, shape[1])
    return Box(top, left, top + side, left + side)


def _start(low: int, high: int, side: int, length: int) -> int:
    """Where a window of `side` starts that holds [low, high): within [0, length) if it fits."""
    if side >= length:
        return -((side - length) // 2)
    return min(max((low + high - side) // 2, 0), length - side)


def cut(array: np.ndarray, box: Box) -> np.ndarray:
    """What lies in a box of an array [H W …], mirrored beyond its borders."""
    ends = [
        (max(0, -box.top), max(0, box.bottom - array.shape[0])),
        (max(0, -box.left), max(0, box.right - array.shape[1])),
    ]
    inside = array[max(0, box.top) : box.bottom, max(0, box.left) : box.right]
    if not any(map(any, ends)):
        return inside
    return np.pad(inside, [*ends, *[(0, 0)] * (array.ndim - 2)], mode="symmetric")


def resized(picture: Picture, side: int) -> Picture:
    """A square picture at another side."""
    if picture.shape[:2] == (side, side):
        return picture
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))


def resized_known(picture: Picture, hole: Mask, side: int) -> Picture:
    """A square picture at another side, made of its known pixels alone; in the hole, of any colour.

    A bicubic kernel reaches beyond what `resized_mask` marks, so it counts known pixels alone.
    """
    if hole.shape == (side, side):
        return picture
    known = (~hole).astype(np.float32)
    share = _bicubic(known, side)
    sums = [_bicubic(colour * known, side) for colour in np.moveaxis(picture, 2, 0)]
    colours = np.stack(sums, axis=2) / np.where(share > 0, share, 1)[..., None]
    return np.clip(np.rint(colours), 0, 255).astype(np.uint8)


def _bicubic(values: Float[np.ndarray, "H W"], side: int) -> Float[np.ndarray, "S S"]:
    return np.asarray(Image.fromarray(values).resize((side, side), Image.Resampling.BICUBIC))


def resized_mask(mask: Mask, side: int) -> Mask:
    """A square mask at another side: True where any pixel of it is."""
    if mask.shape == (side, side):
        return mask
    covered = Image.fromarray(mask.astype(np.float32))
    return np.asarray(covered.resize((side, side), Image.Resampling.BOX)) > 1e-7
