"""Does a map point at the object a word names? Pointing game and attention correctness.

Maps come at every pixel of the photograph (see `capjax.ops.upsample`), NaN where the encoder saw
nothing. A box is (x0, y0, x1, y1) in pixels of that photograph, 0-based, both ends inclusive.
Several boxes of one phrase count as their union. Every score has a baseline in closed form that
knows the image's size and nothing else: no number here means anything without it.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from capjax.ops.boxes import Box, pixels_between
from capjax.types import Geometry

Ties = Literal["first", "mean"]
PhraseRule = Literal["sum", "max"]
Normalise = Literal["sum", "span", "softmax"]


def box_mask(boxes: Sequence[Box], size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """Pixels of an image of `size` (height, width) in the union of boxes."""
    mask = np.zeros(size, bool)
    for x0, y0, x1, y1 in boxes:
        mask[max(y0, 0) : max(y1 + 1, 0), max(x0, 0) : max(x1 + 1, 0)] = True
    return mask


def pointing_game(
    map: Float[np.ndarray, "H W"],
    boxes: Sequence[Box],
    *,
    geometry: Geometry | None = None,
    tolerance: float = 0.0,
    ties: Ties = "first",
) -> float:
    """1 where the map's maximum lies in one of the boxes, else 0 (Zhang et al. 2016).

    Args:
      map: of a word or a phrase (word maps summed, then nothing: scaling moves no maximum).
      boxes: of the object.
      geometry: of a map on the feature grid, where it lies on the photograph; None for a map at
        every pixel. Between the centres of cells a map is bilinear, so its maximum is the centre
        of the largest cell, exactly. Searching an upsampled map pixel by pixel would find the same
        point, except in the cells at the border: beyond their centres there is nothing to
        interpolate, the map is drawn flat, and of that tie the first pixel is a corner of the
        photograph (which cost caption-guided saliency on scenes a tenth of its hits).
      tolerance: in pixels; the point also hits when it lies *less* than this far from a pixel of a
        box. 15 in Excitation Backprop and TorchRay; none in Ramanishka et al. 2017.
      ties: of several maxima the "first", row by row, or the "mean" of the hits of all: the
        expected hit of one drawn at random.

    Raises:
      ValueError: no box, an unknown rule, or a map without a number in it.
    """
    if ties not in ("first", "mean"):
        raise ValueError(f"unknown rule for ties {ties!r}; choose 'first' or 'mean'")
    if np.isnan(map).all():
        raise ValueError("the map has no value inside the image; expected some that are no NaN")
    rows, columns = np.nonzero(map == np.nanmax(map))
    if ties == "first":
        rows, columns = rows[:1], columns[:1]
    if geometry is not None:
        cells = [geometry.cell_box(int(r), int(c)) for r, c in zip(rows, columns, strict=True)]
        x0, y0, x1, y1 = np.array(cells).T
        rows, columns = (((low + high) / 2).astype(int) for low, high in ((y0, y1), (x0, x1)))
    return float(_hits(rows, columns, boxes, tolerance).mean())


def centre_hit(size: tuple[int, int], boxes: Sequence[Box], *, tolerance: float = 0.0) -> float:
    """`pointing_game` of one who always points at the middle, (W / 2, H / 2)."""
    row, column = np.array([size[0] // 2]), np.array([size[1] // 2])
    return float(_hits(row, column, boxes, tolerance)[0])


def random_hit(size: tuple[int, int], boxes: Sequence[Box], *, tolerance: float = 0.0) -> float:
    """Expected `pointing_game` of one who points at a random pixel: an exact share of the image."""
    rows, columns = np.indices(size).reshape(2, -1)
    return float(_hits(rows, columns, boxes, tolerance).mean())


def _hits(
    rows: Int[np.ndarray, " S"],
    columns: Int[np.ndarray, " S"],
    boxes: Sequence[Box],
    tolerance: float,
) -> Bool[np.ndarray, " S"]:
    """Whether each point lies in a box, or less than `tolerance` pixels from one."""
    if not boxes:
        raise ValueError("got no box; leave out phrases whose object has none")
    nearest = np.full(rows.shape, np.inf)
    for x0, y0, x1, y1 in boxes:
        across = np.maximum(np.maximum(x0 - columns, columns - x1), 0)
        down = np.maximum(np.maximum(y0 - rows, rows - y1), 0)
        nearest = np.minimum(nearest, across**2 + down**2)
    return (nearest == 0) | (nearest < tolerance**2)


def attention_correctness(
    maps: Float[np.ndarray, "N H W"],
    boxes: Sequence[Box],
    *,
    phrase: PhraseRule = "sum",
    normalise: Normalise = "sum",
) -> float:
    """The share of a phrase's map that lies in its boxes, 0 to 1 (Liu et al. 2017).

    Args:
      maps: one a word of the phrase.
      boxes: of the phrase's object.
      phrase: "max" takes the best word, as published for attention; "sum" adds the word maps
        first, for maps that are additive (losses).
      normalise: how a map becomes a distribution: "sum" divides a map without negative values by
        its sum; "span" first takes its minimum to 0 and its maximum to 1; "softmax" exponentiates
        (for log-probabilities: the distribution over pixels that they are the logarithms of).
        A map that is constant says nothing and counts as uniform.

    Raises:
      ValueError: no box, an unknown rule, or negative values with "sum".
    """
    maps = np.asarray(maps, np.float64)
    if not boxes:
        raise ValueError("got no box; leave out phrases whose object has none")
    if phrase not in ("sum", "max"):
        raise ValueError(f"unknown rule for phrases {phrase!r}; choose 'sum' or 'max'")
    inside = box_mask(boxes, maps.shape[-2:])
    if phrase == "sum":
        maps = maps.sum(axis=0, keepdims=True)
    return max(float(_distribution(map, normalise)[inside].sum()) for map in maps)


def uniform_correctness(size: tuple[int, int], boxes: Sequence[Box]) -> float:
    """`attention_correctness` of a uniform map: the boxes' share of the image."""
    return float(box_mask(boxes, size).mean())


def _distribution(map: Float[np.ndarray, "H W"], normalise: Normalise) -> np.ndarray:
    seen = ~np.isnan(map)
    if normalise == "softmax":
        weight = np.exp(np.where(seen, map - np.nanmax(map), -np.inf))
    elif normalise == "span":
        weight = np.where(seen, map - np.nanmin(map), 0.0)
    elif normalise == "sum":
        weight = np.where(seen, map, 0.0)
        if (weight < 0).any():
            raise ValueError(
                f"got a map with negative values (least {weight.min():.3g}); a share needs none: "
                "choose normalise='span' or 'softmax'"
            )
    else:
        raise ValueError(f"unknown normalisation {normalise!r}; choose 'sum', 'span' or 'softmax'")
    if not weight.any():
        weight = seen.astype(np.float64)
    return weight / weight.sum()


def temporal_pointing(relevance: Float[np.ndarray, " F"], first: int, end: int) -> float:
    """1 where the most relevant frame is one of [first, end), the frames of an event; else 0.

    Of several maxima the earliest counts. The baseline is `temporal_random`.
    """
    _check_frames(len(relevance), first, end)
    return float(first <= int(np.argmax(relevance)) < end)


def temporal_random(frames: int, first: int, end: int) -> float:
    """Expected `temporal_pointing` of a random frame: the event's share of the clip."""
    _check_frames(frames, first, end)
    return (end - first) / frames


def _check_frames(frames: int, first: int, end: int) -> None:
    if not 0 <= first < end <= frames:
        raise ValueError(f"frames {first}..{end - 1} are not all in a clip of {frames} frames")


def central_crop(
    boxes: Sequence[Box],
    original: tuple[int, int],
    *,
    display: int,
    shorter: int = 256,
    crop: int = 224,
) -> tuple[Box, ...]:
    """Boxes as they lie in the central crop that Show, Attend and Tell sees; may be none.

    The central square of a photograph is resized to `shorter` pixels, its central `crop` pixels
    are kept and shown at `display` pixels. Parts outside are cut off; boxes of which no pixel's
    centre is left vanish.

    Args:
      boxes: in pixels of the photograph.
      original: (height, width) of the photograph.
      display: side of the shown crop in pixels.
      shorter, crop: of the published protocol.
    """
    height, width = original
    side = min(height, width)
    margin = (shorter - crop) / 2
    scale = display / crop
    kept = []
    for x0, y0, x1, y1 in boxes:
        edges = []
        for low, high, start in ((x0, x1, (width - side) // 2), (y0, y1, (height - side) // 2)):
            ends = [((edge - start) * shorter / side - margin) * scale for edge in (low, high + 1)]
            edges.append(pixels_between(*np.clip(ends, 0, display)))
        (left, right), (top, bottom) = edges
        if left <= right and top <= bottom:
            kept.append((left, top, right, bottom))
    return tuple(kept)
