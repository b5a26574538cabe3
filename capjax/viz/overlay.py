"""Maps over photographs: the only place where maps are scaled for display."""

import dataclasses
import functools
import math
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image

from capjax.explainers.scaling import both_signs, has_length, linear
from capjax.ops.upsample import upsample
from capjax.types import Geometry
from capjax.viz.colormaps import colour_table

Scope = Literal["word", "sentence", "raw"]

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


def levels(maps: Float[np.ndarray, "N ..."], bars: Bars) -> Float[np.ndarray, "N ..."]:
    """Maps as places on their colour bars, 0 to 1; degenerate ones at zero's place. NaN stays."""
    shape = (len(maps), *(1,) * (np.ndim(maps) - 1))
    ends = bars.low.reshape(shape), bars.high.reshape(shape)
    place = linear(np.asarray(maps, np.float32), *ends)
    nothing = np.where(np.isnan(place), np.nan, 0.5 if bars.signed else 0.0)
    return np.where(bars.degenerate.reshape(shape), nothing, np.clip(place, 0.0, 1.0))


def drawn(
    maps: Float[np.ndarray, "N *F h w"],
    geometry: Geometry,
    *,
    size: tuple[int, int],
    scope: Scope = "word",
    limits: tuple[float, float] | None = None,
    smooth: float = 0.0,
    frames: Int[np.ndarray, "N k"] | None = None,
) -> tuple[Float[np.ndarray, "N *k H W"], Bars]:
    """Levels at every pixel of a photograph of `size`, and the colour bars they belong to.

    The bars span the raw values of the cells in all frames or, with `smooth`, which lowers peaks,
    the values that are drawn. `frames` are those to draw of each map of a clip; default all.
    """
    shown = maps
    if frames is not None:
        shown = np.take_along_axis(maps, frames[:, :, None, None], axis=1)
    fine = upsample(shown, geometry, size=size, smooth=smooth)
    bars = colour_bars(fine if smooth > 0.0 else maps, scope, limits=limits)
    return levels(fine, bars), bars


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
