"""Figures for papers and notebooks, drawn with matplotlib and without its global state."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from capjax.types import Geometry
from capjax.viz.overlay import UNSEEN, UNSEEN_OPACITY, Scope, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL = 2.2
"""Height of a panel in inches."""

LABEL = 0.34
"""Room for a word above its panel, in inches."""

LONGEST = 1000
"""Larger photographs are reduced to this side: enough for print at the size of a panel."""

SIGNED_CMAP = "RdBu_r"


def plot_attention(
    image: UInt8[np.ndarray, "H W 3"] | Image.Image,
    words: Sequence[str],
    maps: Float[np.ndarray, "N *F h w"],
    cmap: str = "gray",
    alpha: float = 0.8,
    *,
    geometry: Geometry | None = None,
    smooth: float = 0.0,
    scope: Scope = "word",
    limits: tuple[float, float] | None = None,
    columns: int | None = None,
) -> "Figure":
    """A figure with one subplot a word: the image, the word's map over it, the word as title.

        figure = plot_attention(image, explanation.words, explanation.maps,
                                geometry=explanation.geometry)
        figure.savefig("attention.pdf")

    Nothing global is touched: no pyplot, no current figure, no backend; in a notebook the figure
    shows itself as the value of a cell.

    Args:
      image: RGB, the whole photograph, of any size and aspect ratio.
      words: N of them.
      maps: raw, one a word: [N h w] or [N 1 h w].
      cmap: any matplotlib colour map, for maps without negative values; signed maps are drawn in
        blue (below zero), white and red.
      alpha: opacity of the map.
      geometry: where the grid lies on the image; default: it covers the image.
      smooth: Gaussian blur, in grid cells; `upsample.ARCTIC_SMOOTHING` for the look of the figures
        in Show, Attend and Tell.
      scope, limits: what the colours span, see `overlay.colour_bars`.
      columns: subplots in a row; default: a number that makes the figure about twice as wide as
        high.

    Raises:
      ValueError: no word, or maps that are not one a word.
      ImportError: matplotlib is not installed; the text says how to get it.
    """
    figure_class = _figure_class()
    pixels = _pixels(image)
    maps = _one_a_word(np.asarray(maps, np.float32), len(words))
    grid = (int(maps.shape[1]), int(maps.shape[2]))
    size = (int(pixels.shape[0]), int(pixels.shape[1]))
    geometry = geometry or Geometry(size, size, (0, 0, *size), grid)
    place, bars = drawn(maps, geometry, size=size, scope=scope, limits=limits, smooth=smooth)
    unseen = _grey(np.isnan(place[0]))

    aspect = float(np.clip(size[1] / size[0], 0.4, 3.0))
    columns = columns or _columns(len(words), aspect)
    rows = math.ceil(len(words) / columns)
    figure = figure_class(figsize=(columns * PANEL * aspect, rows * (PANEL + LABEL)), dpi=100)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for index, (axis, word) in enumerate(zip(axes, words, strict=False)):
        axis.imshow(pixels)
        if bars.degenerate[index]:
            word = f"{word} (constant)"
        else:
            axis.imshow(unseen)
            axis.imshow(
                np.ma.masked_invalid(place[index]),
                cmap=SIGNED_CMAP if bars.signed else cmap,
                alpha=alpha,
                vmin=0.0,
                vmax=1.0,
                interpolation="bilinear",
            )
        axis.set_title(word, fontsize=12, pad=4)
        axis.set_axis_off()
    for axis in axes[len(words) :]:
        axis.remove()
    figure.subplots_adjust(
        left=0.01,
        right=0.99,
        bottom=0.01,
        top=1 - LABEL / (rows * (PANEL + LABEL)),
        wspace=0.04,
        hspace=LABEL / PANEL,
    )
    return figure


def _pixels(image: UInt8[np.ndarray, "H W 3"] | Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture = picture.convert("RGB")
    picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def _grey(unseen: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "H W 4"]:
    """A veil over what the encoder did not see, clear elsewhere."""
    veil = np.zeros((*unseen.shape, 4), np.float32)
    veil[unseen] = (*(channel / 255 for channel in UNSEEN), UNSEEN_OPACITY)
    return veil


def _one_a_word(maps: np.ndarray, words: int) -> Float[np.ndarray, "N h w"]:
    if words == 0:
        raise ValueError("got no words; a figure has one subplot a word, so give at least one")
    if maps.ndim == 4 and maps.shape[1] == 1:
        maps = maps[:, 0]
    if maps.ndim != 3 or len(maps) != words:
        raise ValueError(
            f"got maps of shape {maps.shape} for {words} words; expected [{words} h w] or "
            f"[{words} 1 h w], one map a word"
        )
    return maps


def _columns(words: int, aspect: float) -> int:
    """As many as make the figure about twice as wide as high, in rows of equal length."""
    wanted = max(1, round(math.sqrt(2 * words * (PANEL + LABEL) / (PANEL * aspect))))
    rows = math.ceil(words / wanted)
    return math.ceil(words / rows)


def _figure_class() -> "type[Figure]":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "figures are drawn with matplotlib, which is not installed; "
            "run: pip install 'capjax[viz]'"
        ) from error
    return Figure
