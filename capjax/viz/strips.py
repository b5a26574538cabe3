"""Word strips: a photograph or a clip and, for every word, its map over it, as one picture.

Of an image: the photograph, then a panel a word, the word underneath. Of a clip: a row of frames,
then a row a word with that word's most relevant frames. Phrases asked about follow the words.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from capjax.types import Explanation, Geometry
from capjax.viz import parts
from capjax.viz.overlay import Bars, Scope, drawn, paint

GAP = 6
LABEL = 15
NUMBERS = 11
INK = (20, 20, 20)
PALE = (120, 120, 120)
PAPER = (255, 255, 255)
WIDEST = 16 / 9
"""Panels of wider photographs are less high, so that a strip stays a strip."""

IMAGE_HEIGHT = 160
FRAME_HEIGHT = 96


@dataclasses.dataclass(frozen=True)
class Panel:
    """A picture, and a label and a line of numbers to write under it."""

    picture: Image.Image
    label: str = ""
    note: str = ""


def word_strip(
    photograph: UInt8[np.ndarray, "*F H W 3"] | Image.Image,
    explanation: Explanation,
    *,
    height: int | None = None,
    columns: int = 8,
    cmap: str = "heat",
    alpha: float = 0.6,
    scope: Scope = "word",
    limits: tuple[float, float] | None = None,
    smooth: float = 0.0,
) -> Image.Image:
    """The photograph, then one panel a word; of a clip, frames, then one row of frames a word.

    Beside each word stand the raw values at the two ends of its colours. A map without any contrast
    is not painted, and says "constant".

    Args:
      photograph: whole and upright, of any size (the geometry's original or a copy of it); the
        frames of a clip.
      explanation: of the image or clip.
      height: of a panel, in pixels; default `IMAGE_HEIGHT`, of a clip `FRAME_HEIGHT`.
      columns: most panels in a row. Longer sentences are broken into rows of equal length; of a
        clip as many of a word's most relevant frames are shown, in the order of time.
      cmap: a name in `colormaps.STOPS`, for maps of one sign; maps with values of both signs are
        drawn in blue (against the word) and red (for it).
      alpha: opacity of the colours.
      scope, limits: see `overlay.colour_bars`; the colours of a word span all its frames.
      smooth: see `ops.upsample`.

    Raises:
      ValueError: maps that are not one a word, or of more or fewer frames than the clip has.
    """
    frames = pictures(photograph)
    height = height or (IMAGE_HEIGHT if len(frames) == 1 else FRAME_HEIGHT)
    small = [reduced(frame.convert("RGB"), height) for frame in frames]
    look = {"scope": scope, "limits": limits, "smooth": smooth}
    inks = {"cmap": cmap, "alpha": alpha}
    shown = [parts.words(explanation), parts.phrases(explanation)]
    if shown[0].frames != len(frames):
        raise ValueError(
            f"got maps of {shown[0].frames} frames for a picture of {len(frames)}; give the "
            "photograph, or the frames of the clip, that was explained"
        )
    geometry = explanation.geometry
    if len(frames) == 1:
        panels = [Panel(small[0])]
        for part in shown:
            panels += word_panels(small[0], part, geometry, look, inks)
        return wrapped(panels, columns)
    count = min(columns, len(frames))
    rows = [("", "", [Panel(small[at], _frame(at)) for at in _spread(len(frames), count)])]
    for part in shown:
        rows += _clip_rows(small, part, geometry, count, look, inks)
    return _table(rows)


def side_by_side(
    photograph: UInt8[np.ndarray, "*F H W 3"] | Image.Image,
    explanations: Mapping[str, Explanation],
    **options: Any,
) -> Image.Image:
    """Word strips of one photograph under each other, each beneath its name: soft and hard
    attention, for instance, or two captioners.

    Args:
      photograph: as `word_strip`.
      explanations: name -> maps; the sentences may differ.
      **options: of `word_strip`, for all of them.
    """
    if not explanations:
        raise ValueError("got no explanations; give one strip or more, by name")
    strips = {name: word_strip(photograph, own, **options) for name, own in explanations.items()}
    band = LABEL + 2 * GAP
    width = max(strip.width for strip in strips.values())
    sheet = Image.new("RGB", (width, sum(strip.height + band for strip in strips.values())), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = 0
    for name, strip in strips.items():
        draw.text((GAP, top + GAP), name, INK, _font(LABEL), anchor="la")
        sheet.paste(strip, (0, top + band))
        top += band + strip.height
    return sheet


def pictures(photograph: UInt8[np.ndarray, "*F H W 3"] | Image.Image) -> list[Image.Image]:
    """The frames of a clip, or the one photograph."""
    if isinstance(photograph, Image.Image):
        return [photograph]
    several = photograph if photograph.ndim == 4 else photograph[None]
    return [Image.fromarray(frame) for frame in several]


def reduced(picture: Image.Image, height: int) -> Image.Image:
    """The photograph at the panel's size, its aspect ratio kept."""
    factor = min(height / picture.height, height * WIDEST / picture.width)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def word_panels(
    small: Image.Image,
    part: parts.Parts,
    geometry: Geometry,
    look: dict[str, Any],
    inks: dict[str, Any],
    *,
    frame: int = 0,
) -> list[Panel]:
    """One panel a word: its map in a frame over that frame, on a scale of all frames."""
    size = (small.height, small.width)
    frames = np.full((len(part.labels), 1), frame)
    place, bars = drawn(part.maps, geometry, size=size, frames=frames, **look)
    panels = []
    for index, label in enumerate(part.labels):
        if bars.degenerate[index]:
            picture = small
        else:
            picture = paint(small, place[index, 0], signed=bars.signed, **inks)
        panels.append(Panel(picture, label, _ends(bars, index)))
    return panels


def _clip_rows(
    small: Sequence[Image.Image],
    part: parts.Parts,
    geometry: Geometry,
    count: int,
    look: dict[str, Any],
    inks: dict[str, Any],
) -> list[tuple[str, str, list[Panel]]]:
    """(label, note, panels) of each word: its most relevant frames, in the order of time."""
    size = (small[0].height, small[0].width)
    chosen = part.most_relevant(count)
    place, bars = drawn(part.maps, geometry, size=size, frames=chosen, **look)
    rows = []
    for index, label in enumerate(part.labels):
        panels = []
        for column, frame in enumerate(chosen[index]):
            picture = small[frame]
            if not bars.degenerate[index]:
                picture = paint(picture, place[index, column], signed=bars.signed, **inks)
            panels.append(Panel(picture, _frame(frame)))
        rows.append((label, _ends(bars, index), panels))
    return rows


def _spread(frames: int, count: int) -> list[int]:
    return np.round(np.linspace(0, frames - 1, count)).astype(int).tolist()


def _frame(index: int) -> str:
    return f"frame {index + 1}"


def _ends(bars: Bars, index: int) -> str:
    if bars.degenerate[index]:
        return "constant"
    return f"{_number(bars.low[index])} … {_number(bars.high[index])}"


def wrapped(panels: Sequence[Panel], columns: int) -> Image.Image:
    """Panels in rows of equal length."""
    wide, high = panels[0].picture.size
    rows = math.ceil(len(panels) / columns)
    across = math.ceil(len(panels) / rows)
    # Room for the widest label: a portrait photograph may be narrower than a word.
    widest = max(
        *(_font(LABEL).getlength(panel.label) for panel in panels),
        *(_font(NUMBERS).getlength(panel.note) for panel in panels),
    )
    cell = max(wide, math.ceil(widest)) + GAP
    line = high + LABEL + NUMBERS + 18
    sheet = Image.new("RGB", (across * cell + GAP, rows * line + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, panel in enumerate(panels):
        left = GAP + (index % across) * cell
        top = GAP + (index // across) * line
        sheet.paste(panel.picture, (left + (cell - GAP - wide) // 2, top))
        middle = left + (cell - GAP) / 2
        draw.text((middle, top + high + 3), panel.label, INK, _font(LABEL), anchor="ma")
        below = top + high + LABEL + 7
        draw.text((middle, below), panel.note, PALE, _font(NUMBERS), anchor="ma")
    return sheet


def _table(rows: Sequence[tuple[str, str, list[Panel]]]) -> Image.Image:
    """Rows with their label and note to the left."""
    wide, high = rows[0][2][0].picture.size
    widest = max(
        max(_font(LABEL).getlength(label), _font(NUMBERS).getlength(note))
        for label, note, _ in rows
    )
    margin = math.ceil(widest) + 2 * GAP
    cell = max(wide, math.ceil(_font(NUMBERS).getlength("frame 000"))) + GAP
    line = high + NUMBERS + 12
    width = margin + max(len(panels) for _, _, panels in rows) * cell
    sheet = Image.new("RGB", (width, len(rows) * line + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, (label, note, panels) in enumerate(rows):
        top = GAP + row * line
        middle = top + high / 2
        draw.text((margin - GAP, middle), label, INK, _font(LABEL), anchor="rd")
        draw.text((margin - GAP, middle + 3), note, PALE, _font(NUMBERS), anchor="ra")
        for column, panel in enumerate(panels):
            left = margin + column * cell
            sheet.paste(panel.picture, (left, top))
            at = (left + wide / 2, top + high + 2)
            draw.text(at, panel.label, PALE, _font(NUMBERS), anchor="ma")
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
