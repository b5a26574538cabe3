"""Patches of pictures: segments at several resolutions, each blown up to the encoder's input.

Letters: R resolutions, S segments.
"""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Int, UInt8
from PIL import Image

from capjax.explainers.perturbation.superpixels import superpixels

GREY = 117
"""Of 255, around a segment."""


@dataclasses.dataclass(frozen=True)
class Segment:
    """One piece of a picture.

    Attributes:
      resolution: which of the cuts, from 0 on.
      label: of its pixels in that cut.
    """

    resolution: int
    label: int


def cuts(picture: UInt8[np.ndarray, "H W 3"], numbers: Sequence[int]) -> Int[np.ndarray, "R H W"]:
    """The superpixel of each pixel, at every resolution: SLIC of compactness 20 and sigma 1."""
    return np.stack([superpixels(picture[None], number)[0] for number in numbers])


def unique_segments(
    labels: Int[np.ndarray, "R H W"], *, smallest: float, overlap: float
) -> list[Segment]:
    """Segments that are large enough, and like none of a coarser cut that was kept.

    The last label and a box's last row and column count: the reference drops them.

    Args:
      labels: from `cuts`.
      smallest: share of the picture; a segment of more is large enough.
      overlap: a Jaccard index of more is too like.
    """
    found: list[Segment] = []
    before = np.zeros((0, labels[0].size), np.float32)
    for resolution, own in enumerate(labels):
        flat = own.reshape(-1)
        names = [int(name) for name in np.unique(flat) if np.mean(flat == name) > smallest]
        masks = np.stack([flat == name for name in names]).astype(np.float32)
        both = masks @ before.T  # [S S'] pixels in common
        either = masks.sum(axis=1)[:, None] + before.sum(axis=1)[None] - both
        fresh = ~np.any(both > overlap * either, axis=1)
        found += [Segment(resolution, name) for name, new in zip(names, fresh, strict=True) if new]
        before = np.concatenate([before, masks[fresh]])
    return found


def mask_of(labels: Int[np.ndarray, "R H W"], segment: Segment) -> Bool[np.ndarray, "H W"]:
    """Which pixels are the segment's."""
    return labels[segment.resolution] == segment.label


def box_of(mask: Bool[np.ndarray, "H W"]) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of a mask, the last two one past its end."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def patch(
    picture: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"]
) -> UInt8[np.ndarray, "H W 3"]:
    """A segment on grey, cut out tightly and resized (bicubic) to the picture's size."""
    top, left, bottom, right = box_of(mask)
    alone = np.where(mask[..., None], picture, np.uint8(GREY))[top:bottom, left:right]
    size = (picture.shape[1], picture.shape[0])
    return np.asarray(Image.fromarray(alone).resize(size, Image.Resampling.BICUBIC))


def patches(
    picture: UInt8[np.ndarray, "H W 3"],
    labels: Int[np.ndarray, "R H W"],
    segments: Iterable[Segment],
) -> list[np.ndarray]:
    """The patch of every segment."""
    return [patch(picture, mask_of(labels, segment)) for segment in segments]
