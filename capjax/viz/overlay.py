"""Maps over photographs: the only place where maps are scaled or upsampled for display."""

import dataclasses
import functools
import math
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from capjax.explain.scaling import ROUNDING, has_length, linear
from capjax.types import Geometry
from capjax.viz.colormaps import colour_table

Scope = Literal["word", "sentence", "raw"]

ARCTIC_SMOOTHING = 20 / 16
"""Show, Attend and Tell's figures: upscaled 16 times, then blurred with sigma = 20 pixels."""

SGRVINOD_SMOOTHING = 8 / 24
"""The PyTorch tutorial's figures: upscaled 24 times, then blurred with sigma = 8 pixels."""

SAMPLES_PER_CELL = 16
UNSEEN = (128, 128, 128)
UNSEEN_OPACITY = 0.75


@dataclasses.dataclass(frozen=True)
class Bars:
    """The colour bar of each map.

    Attributes:
      low, high: [N] raw values at its two ends.
      signed: values of both signs occur: the bars are symmetric, zero is in the middle. Maps of
        one sign, log-probabilities for instance, have bars over their own span.
      degenerate: [N] the map is not finite, or the bar has no length, or (scope "word") the map is
        constant: there is nothing to draw.
    """

    low: Float[np.ndarray, " N"]
    high: Float[np.ndarray, " N"]
    signed: bool
    degenerate: Bool[np.ndarray, " N"]


def colour_bars(
    maps: Float[np.ndarray, "N ..."],
    scope: Scope = "word",
    *,
    limits: tuple[float, float] | None = None,
) -> Bars:
    """What the colours of each map of a sentence span.

    Args:
      maps: raw; NaN marks what the encoder did not see.
      scope: "word" spans each map's own values, so that small differences show; "sentence" those
        of all maps, so that words can be compared; "raw" spans `limits`, so that images can be
        compared too.
      limits: (low, high) for "raw"; default zero and the extremes of these maps.

    Raises:
      ValueError: an unknown scope.
    """
    if scope not in ("word", "sentence", "raw"):
        raise ValueError(f"unknown scope {scope!r}; choose 'word', 'sentence' or 'raw'")
    flat = np.asarray(maps, np.float32).reshape(len(maps), math.prod(np.shape(maps)[1:]))
    broken = np.asarray(np.isinf(flat).any(axis=1) | np.isnan(flat).all(axis=1))
    flat = np.where(broken[:, None], 0.0, flat)
    low, high = np.nanmin(flat, axis=1), np.nanmax(flat, axis=1)
    constant = ~has_length(low, high)
    if scope != "word":
        ends = (low[~broken].min(initial=np.inf), high[~broken].max(initial=-np.inf))
        if scope == "raw":
            ends = limits if limits is not None else (min(ends[0], 0.0), max(ends[1], 0.0))
        low, high = (np.full(len(flat), end, np.float32) for end in ends)
    signed = both_signs(low.min(initial=0.0), high.max(initial=0.0))
    if signed:
        high = np.maximum(np.abs(low), np.abs(high))
        low = -high
    degenerate = broken | ~has_length(low, high)
    if scope == "word":
        degenerate |= constant
    return Bars(low, high, signed, degenerate)


def both_signs(low: float, high: float) -> bool:
    """Whether values between two extremes are negative and positive, rounding aside."""
    return bool(min(-low, high) > ROUNDING * max(-low, high))


def levels(maps: Float[np.ndarray, "N ..."], bars: Bars) -> Float[np.ndarray, "N ..."]:
    """Maps as places on their colour bars, 0 to 1; degenerate ones at zero's place. NaN stays."""
    shape = (len(maps), *(1,) * (np.ndim(maps) - 1))
    ends = bars.low.reshape(shape), bars.high.reshape(shape)
    place = linear(np.asarray(maps, np.float32), *ends)
    nothing = np.where(np.isnan(place), np.nan, 0.5 if bars.signed else 0.0)
    return np.where(bars.degenerate.reshape(shape), nothing, np.clip(place, 0.0, 1.0))


def drawn(
    maps: Float[np.ndarray, "N h w"],
    geometry: Geometry,
    *,
    size: tuple[int, int],
    scope: Scope = "word",
    limits: tuple[float, float] | None = None,
    smooth: float = 0.0,
) -> tuple[Float[np.ndarray, "N H W"], Bars]:
    """Levels at every pixel of a photograph of `size`, and the colour bars they belong to.

    The bars span the raw values of the cells; with `smooth`, which lowers peaks, what is drawn.
    """
    fine = upsample(maps, geometry, size=size, smooth=smooth)
    bars = colour_bars(fine if smooth > 0.0 else maps, scope, limits=limits)
    return levels(fine, bars), bars


def upsample(
    maps: Float[np.ndarray, "*N h w"],
    geometry: Geometry,
    *,
    size: tuple[int, int] | None = None,
    smooth: float = 0.0,
) -> Float[np.ndarray, "*N H W"]:
    """Maps at every pixel of the photograph: bilinear between cell centres, flat beyond the last.

    Args:
      maps: on the feature grid.
      geometry: where the grid lies on the original photograph.
      size: (H, W) of a smaller or larger copy of the whole photograph; default its own size.
      smooth: standard deviation of a Gaussian, in grid cells; 0 for none. The published figures
        use `ARCTIC_SMOOTHING` and `SGRVINOD_SMOOTHING`. Reflected at the border of the crop.

    Returns:
      float32, NaN where the encoder saw nothing.

    Raises:
      ValueError: the maps are not on the geometry's grid.
    """
    maps = np.asarray(maps, np.float32)
    if maps.shape[-2:] != tuple(geometry.grid):
        raise ValueError(
            f"got maps of shape {maps.shape}; the geometry's grid is {geometry.grid}, so the last "
            "two axes should be that"
        )
    if size is not None:
        geometry = dataclasses.replace(geometry, original=size)
    rows, columns = geometry.grid_coordinates()
    return _along(_along(maps, rows, -2, smooth), columns, -1, smooth)


def _along(
    maps: np.ndarray, coordinates: Float[np.ndarray, " S"], axis: int, smooth: float
) -> np.ndarray:
    """Maps sampled at grid coordinates of one axis; NaN outside the grid."""
    cells = maps.shape[axis]
    outside = (coordinates < -0.5) | (coordinates > cells - 0.5)
    if smooth > 0.0:
        blurred = np.moveaxis(maps, axis, -1) @ _blur(cells, smooth).T
        maps = np.moveaxis(blurred, -1, axis)
        coordinates = (coordinates + 0.5) * SAMPLES_PER_CELL - 0.5
        cells *= SAMPLES_PER_CELL
    left, part = _neighbours(coordinates, cells)
    # Two gathers rather than a product with a sparse matrix: BLAS threads would compete with the
    # accelerator's host threads for a product this small.
    part = part.astype(np.float32).reshape(-1, *(1,) * (-1 - axis))
    first = np.take(maps, left, axis=axis)
    fine = first + part * (np.take(maps, np.minimum(left + 1, cells - 1), axis=axis) - first)
    np.moveaxis(fine, axis, 0)[outside] = np.nan
    return fine


def _neighbours(coordinates: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """The cell before each coordinate, and how far it lies towards the next; flat at the ends."""
    place = np.clip(coordinates, 0, cells - 1)
    left = np.minimum(place.astype(np.intp), max(cells - 2, 0))
    return left, place - left


@functools.lru_cache(maxsize=32)
def _blur(cells: int, smooth: float) -> Float[np.ndarray, "n h"]:
    """The matrix from cells to `SAMPLES_PER_CELL` blurred points a cell, reflected at both ends."""
    count = cells * SAMPLES_PER_CELL
    left, part = _neighbours((np.arange(count) + 0.5) / SAMPLES_PER_CELL - 0.5, cells)
    identity = np.eye(cells)
    sharp = identity[left] * (1 - part)[:, None]
    sharp += identity[np.minimum(left + 1, cells - 1)] * part[:, None]
    sigma = smooth * SAMPLES_PER_CELL
    reach = int(4.0 * sigma + 0.5)
    offset = np.arange(-reach, reach + 1)
    weight = np.exp(-0.5 * (offset / sigma) ** 2)
    source = (np.arange(count)[:, None] + offset) % (2 * count)
    source = np.minimum(source, 2 * count - 1 - source)  # ... 1 0 0 1 2 ... n-1 n-1 n-2 ...
    return np.einsum("j,ijc->ic", weight / weight.sum(), sharp[source]).astype(np.float32)


def paint(
    photograph: Image.Image,
    place: Float[np.ndarray, "H W"],
    *,
    cmap: str = "heat",
    alpha: float = 0.6,
    signed: bool = False,
) -> Image.Image:
    """Colours over a photograph.

    Args:
      photograph: RGB.
      place: from `levels`; NaN, where the encoder saw nothing, is drawn grey.
      cmap: a name in `colormaps.STOPS`, for maps without negative values; the others are drawn in
        "signed", and weak values let the photograph through.
      alpha: opacity of the colours.
      signed: from the map's `Bars`.
    """
    palette, opacity = _inks("signed" if signed else cmap, alpha, signed)
    # 255 levels; the last index is left to what the encoder did not see.
    index = np.where(np.isnan(place), np.float32(255), place * np.float32(254) + np.float32(0.5))
    plane = Image.fromarray(index.astype(np.uint8))
    coloured = plane.copy()
    coloured.putpalette(palette)
    return Image.composite(coloured.convert("RGB"), photograph, plane.point(opacity))


@functools.lru_cache(maxsize=32)
def _inks(cmap: str, alpha: float, signed: bool) -> tuple[bytes, list[int]]:
    """Palette and opacity (0 to 255) of the 256 indices of `paint`."""
    shown = np.linspace(0, 1, 255)
    table = colour_table(cmap)[np.rint(shown * 255).astype(np.intp)]
    strength = np.minimum(0.12 + 2.4 * np.abs(shown - 0.5), 1.0) if signed else np.ones(255)
    opacity = np.append(alpha * strength, UNSEEN_OPACITY)
    palette = np.vstack([table, UNSEEN]).astype(np.uint8)
    return palette.tobytes(), np.rint(255 * opacity).astype(int).tolist()
