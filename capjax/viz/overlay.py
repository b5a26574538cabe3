"""Maps over photographs: the only place where maps are scaled or upsampled for display."""

import dataclasses
import functools
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8

from capjax.types import Geometry

Scope = Literal["word", "sentence", "raw"]

ARCTIC_SMOOTHING = 20 / 16
"""Show, Attend and Tell's figures: upscaled 16 times, then blurred with sigma = 20 pixels."""

SGRVINOD_SMOOTHING = 8 / 24
"""The PyTorch tutorial's figures: upscaled 24 times, then blurred with sigma = 8 pixels."""

SAMPLES_PER_CELL = 16
UNSEEN = np.array([128, 128, 128])
UNSEEN_OPACITY = 0.75


@dataclasses.dataclass(frozen=True)
class Levels:
    """Maps as levels of a colour bar.

    Attributes:
      levels: [N h w] 0 at the low end of the bar, 1 at the high end.
      low, high: [N] the raw values at the two ends of each map's bar.
      signed: any value is negative: the bars are symmetric, zero is level 0.5.
      degenerate: [N] the bar has no length or the map is not finite: there is nothing to draw.
    """

    levels: Float[np.ndarray, "N h w"]
    low: Float[np.ndarray, " N"]
    high: Float[np.ndarray, " N"]
    signed: bool
    degenerate: Bool[np.ndarray, " N"]


def scale(
    maps: Float[np.ndarray, "N h w"],
    scope: Scope = "word",
    *,
    limits: tuple[float, float] | None = None,
) -> Levels:
    """Raw maps as levels of a colour bar.

    Args:
      maps: of one sentence.
      scope: "word" spans each map's own values, so that small differences show; "sentence" those
        of all maps, so that words can be compared; "raw" spans `limits`, so that images can be
        compared too.
      limits: (low, high) for "raw"; default zero and the extremes of these maps.

    Raises:
      ValueError: an unknown scope.
    """
    maps = np.asarray(maps, np.float32)
    finite = np.isfinite(maps).all(axis=(1, 2))
    known = np.where(finite[:, None, None], maps, 0.0)
    flat = known.reshape(len(maps), -1)
    if scope == "word":
        low, high = flat.min(axis=1), flat.max(axis=1)
    elif scope in ("sentence", "raw"):
        shown = flat[finite] if finite.any() else np.zeros((1, 1), np.float32)
        ends = (shown.min(), shown.max())
        if scope == "raw":
            ends = limits if limits is not None else (min(ends[0], 0.0), max(ends[1], 0.0))
        low, high = (np.full(len(maps), end, np.float32) for end in ends)
    else:
        raise ValueError(f"unknown scope {scope!r}; choose 'word', 'sentence' or 'raw'")
    signed = bool((known < 0).any()) or bool((low < 0).any())
    if signed:
        high = np.maximum(np.abs(low), np.abs(high))
        low = -high
    # A subnormal span divides to infinity.
    degenerate = ~finite | ~(high - low > np.finfo(np.float32).tiny)
    span = np.where(degenerate, 1.0, high - low)[:, None, None]
    levels = np.clip((known - low[:, None, None]) / span, 0.0, 1.0)
    levels[degenerate] = 0.5 if signed else 0.0
    return Levels(levels.astype(np.float32), low, high, signed, degenerate)


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
    across = _interpolation(columns, geometry.grid[1], smooth)  # [W w]
    down = _interpolation(rows, geometry.grid[0], smooth)  # [H h]
    return down @ (maps @ across.T)


def _interpolation(
    coordinates: Float[np.ndarray, " H"], cells: int, smooth: float
) -> Float[np.ndarray, "H h"]:
    """The matrix that takes the values of a row of cells to the values at grid coordinates."""
    outside = (coordinates < -0.5) | (coordinates > cells - 0.5)
    if smooth > 0.0:
        fine = _smoothed(cells, smooth)  # [cells * SAMPLES_PER_CELL, cells]
        place = (coordinates + 0.5) * SAMPLES_PER_CELL - 0.5
        matrix = _linear(place, len(fine)) @ fine
    else:
        matrix = _linear(coordinates, cells)
    matrix[outside] = np.nan
    return matrix.astype(np.float32)


def _linear(coordinates: Float[np.ndarray, " H"], cells: int) -> Float[np.ndarray, "H h"]:
    place = np.clip(coordinates, 0, cells - 1)
    left = np.minimum(place.astype(np.int64), max(cells - 2, 0))
    right = np.minimum(left + 1, cells - 1)
    part = place - left
    matrix = np.zeros((len(place), cells))
    index = np.arange(len(place))
    np.add.at(matrix, (index, left), 1.0 - part)
    np.add.at(matrix, (index, right), part)
    return matrix


@functools.lru_cache(maxsize=32)
def _smoothed(cells: int, smooth: float) -> Float[np.ndarray, "n h"]:
    """Linear interpolation at `SAMPLES_PER_CELL` points a cell, blurred, reflected at both ends."""
    count = cells * SAMPLES_PER_CELL
    place = (np.arange(count) + 0.5) / SAMPLES_PER_CELL - 0.5
    sharp = _linear(place, cells)
    sigma = smooth * SAMPLES_PER_CELL
    reach = int(4.0 * sigma + 0.5)
    offset = np.arange(-reach, reach + 1)
    weight = np.exp(-0.5 * (offset / sigma) ** 2)
    weight /= weight.sum()
    source = (np.arange(count)[:, None] + offset[None, :]) % (2 * count)
    source = np.minimum(source, 2 * count - 1 - source)  # ... 1 0 0 1 2 ... n-1 n-1 n-2 ...
    return np.einsum("ij,ijc->ic", np.broadcast_to(weight, source.shape), sharp[source])


def paint(
    photograph: UInt8[np.ndarray, "H W 3"],
    levels: Float[np.ndarray, "*N H W"],
    table: UInt8[np.ndarray, "256 3"],
    *,
    alpha: float = 0.6,
    signed: bool = False,
) -> UInt8[np.ndarray, "*N H W 3"]:
    """Colours over a photograph.

    Args:
      photograph: RGB.
      levels: 0 to 1; NaN, where the encoder saw nothing, is drawn grey.
      table: from `colour_table`.
      alpha: opacity of the colours.
      signed: level 0.5 is zero; weak values let the photograph through.
    """
    # One row more than the table, for pixels that the encoder did not see.
    index = np.full(levels.shape, 256, np.intp)
    seen = ~np.isnan(levels)
    index[seen] = np.rint(np.clip(levels[seen], 0.0, 1.0) * 255).astype(np.intp)
    opacity = np.full(257, alpha, np.float32)
    if signed:
        strength = 0.12 + 2.4 * np.abs(np.linspace(0, 1, 256) - 0.5)
        opacity[:256] *= np.minimum(strength, 1.0)
    opacity[256] = UNSEEN_OPACITY
    colours = np.vstack([table, UNSEEN]).astype(np.float32) * opacity[:, None] + 0.5
    below = photograph.astype(np.float32) * (1.0 - opacity)[index][..., None]
    return (below + colours[index]).astype(np.uint8)
