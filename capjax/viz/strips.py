"""Word strips: a photograph and, for every word, its map over it, as one picture for a paper."""

import functools
import math

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from capjax.types import Explanation
from capjax.viz.overlay import Scope, drawn, paint

GAP = 6
LABEL = 15
NUMBERS = 11
INK = (20, 20, 20)
PALE = (120, 120, 120)
PAPER = (255, 255, 255)
WIDEST = 16 / 9
"""Panels of wider photographs are less high, so that a strip stays a strip."""


def word_strip(
    photograph: UInt8[np.ndarray, "H W 3"] | Image.Image,
    explanation: Explanation,
    *,
    height: int = 160,
    columns: int = 8,
    cmap: str = "heat",
    alpha: float = 0.6,
    scope: Scope = "word",
    limits: tuple[float, float] | None = None,
    smooth: float = 0.0,
) -> Image.Image:
    """The photograph, then one panel a word: its map over the photograph, the word underneath.

    Under each word stand the raw values at the two ends of its colours. A map without any contrast
    is not painted, and says "constant".

    Args:
      photograph: whole and upright, of any size (the geometry's original or a copy of it).
      explanation: of one image (F = 1).
      height: of a panel, in pixels.
      columns: most panels in a row; longer sentences are broken into rows of equal length.
      cmap: a name in `colormaps.STOPS`, for maps without negative values; signed maps are drawn in
        blue (against the word) and red (for it).
      alpha: opacity of the colours.
      scope, limits: see `overlay.colour_bars`.
      smooth: see `ops.upsample`.

    Raises:
      ValueError: maps of several frames, or as many maps as words missing.
    """
    maps = _image_maps(explanation)
    picture = photograph if isinstance(photograph, Image.Image) else Image.fromarray(photograph)
    small = _panel(picture.convert("RGB"), height)
    place, bars = drawn(
        maps,
        explanation.geometry,
        size=(small.height, small.width),
        scope=scope,
        limits=limits,
        smooth=smooth,
    )
    panels, labels, numbers = [small], [""], [""]
    for index, word in enumerate(explanation.words):
        labels.append(word)
        if bars.degenerate[index]:
            panels.append(small)
            numbers.append("constant")
        else:
            panels.append(paint(small, place[index], cmap=cmap, alpha=alpha, signed=bars.signed))
            numbers.append(f"{_number(bars.low[index])} … {_number(bars.high[index])}")
    return _compose(panels, labels, numbers, columns)


def _image_maps(explanation: Explanation) -> np.ndarray:
    maps = np.asarray(explanation.maps)
    count = len(explanation.words)
    if maps.ndim != 4 or maps.shape[1] != 1 or len(maps) != count:
        raise ValueError(
            f"got maps of shape {maps.shape} for {count} words; a strip draws images: one map "
            "[1 h w] a word"
        )
    return maps[:, 0]


def _panel(picture: Image.Image, height: int) -> Image.Image:
    """The photograph at the panel's size, its aspect ratio kept."""
    factor = min(height / picture.height, height * WIDEST / picture.width)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _compose(
    panels: list[Image.Image], labels: list[str], numbers: list[str], columns: int
) -> Image.Image:
    wide, high = panels[0].size
    rows = math.ceil(len(panels) / columns)
    across = math.ceil(len(panels) / rows)
    # Room for the widest label: a portrait photograph may be narrower than a word.
    widest = max(
        *(_font(LABEL).getlength(label) for label in labels),
        *(_font(NUMBERS).getlength(entry) for entry in numbers),
    )
    cell = max(wide, math.ceil(widest)) + GAP
    line = high + LABEL + NUMBERS + 18
    sheet = Image.new("RGB", (across * cell + GAP, rows * line + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, panel in enumerate(panels):
        left = GAP + (index % across) * cell
        top = GAP + (index // across) * line
        sheet.paste(panel, (left + (cell - GAP - wide) // 2, top))
        middle = left + (cell - GAP) / 2
        draw.text((middle, top + high + 3), labels[index], INK, _font(LABEL), anchor="ma")
        below = top + high + LABEL + 7
        draw.text((middle, below), numbers[index], PALE, _font(NUMBERS), anchor="ma")
    return sheet


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _number(value: float) -> str:
    """Two significant digits, as short as they can be read."""
    if value == 0:
        return "0"
    if 0.001 <= abs(value) < 1000:
        return f"{value:.2g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"
