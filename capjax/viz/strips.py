"""Word strips: a photograph or a clip and, for every word, its map over it, as one picture.

Of an image: the photograph, then a panel a word, the word underneath. Of a clip: a row of frames,
then a row a word with that word's most relevant frames. What else was asked about follows them.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from capjax.explainers.scaling import Values
from capjax.types import Explanation, Geometry
from capjax.viz import parts
from capjax.viz.fonts.lettering import LINE, FontFiles, Lettering
from capjax.viz.overlay import Bars, Scope, drawn, paint

GAP = 6
LABEL = 15
NUMBERS = 11
LONGEST_WORD = 160
"""In pixels: a longer word is cut into lines."""
INK = (20, 20, 20)
PALE = (120, 120, 120)
PAPER = (255, 255, 255)
WIDEST = 16 / 9
"""Panels of wider photographs are less high, so that a strip stays a strip."""

NARROWEST, LARGEST = 0.3, 4.0
"""In heights of a panel: the shorter side of panoramas and the like, and the most of the longer."""

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
    values: Values | None = None,
    font: FontFiles | None = None,
) -> Image.Image:
    """The photograph, then one panel a word; of a clip, frames, then one row of frames a word.

    Beside each word stand the values at the two ends of its colours, with their unit where they are
    not the raw ones ("p": a probability). A map without any contrast is not painted, and says
    "constant".

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
      values: "raw", or "exp" of maps that are logarithms; default: of those "exp", see
        `scaling.natural_values`.
      font: a file with letters that no font of this machine has, or several in order of preference.

    Raises:
      ValueError: maps that are not one a word, or of more or fewer frames than the clip has.
      FileNotFoundError: there is no such font.
    """
    frames = pictures(photograph)
    height = height or (IMAGE_HEIGHT if len(frames) == 1 else FRAME_HEIGHT)
    small = [reduced(frame.convert("RGB"), height) for frame in frames]
    look = {"scope": scope, "limits": limits, "smooth": smooth}
    inks = {"cmap": cmap, "alpha": alpha}
    lettering = Lettering.of(font)
    found = (parts.words(explanation), parts.beside_words(explanation))
    shown = [part.shown(explanation, values) for part in found]
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
        return wrapped(panels, columns, lettering, height=height)
    count = min(columns, len(frames))
    rows = [("", "", [Panel(small[at], _frame(at)) for at in _spread(len(frames), count)])]
    for part in shown:
        rows += _clip_rows(small, part, geometry, count, look, inks)
    return _table(rows, lettering)


def side_by_side(
    photograph: UInt8[np.ndarray, "*F H W 3"] | Image.Image,
    explanations: Mapping[str, Explanation],
    **options: Any,
) -> Image.Image:
    """Draws several word strips of one photograph, each under its name.

    For instance those of soft and hard attention, or of two captioners.

    Args:
      photograph: as `word_strip`.
      explanations: name -> maps; the sentences may differ.
      **options: of `word_strip`, for all of them.
    """
    if not explanations:
        raise ValueError("got no explanations; give one strip or more, by name")
    strips = {name: word_strip(photograph, own, **options) for name, own in explanations.items()}
    lettering = Lettering.of(options.get("font"))
    width = max(strip.width for strip in strips.values())
    line = round(LINE * LABEL)
    names = {name: lettering.lines(name, LABEL, width - 2 * GAP) for name in strips}
    bands = {name: line * len(lines) + GAP for name, lines in names.items()}
    height = sum(strip.height + bands[name] for name, strip in strips.items())
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = 0
    for name, strip in strips.items():
        for number, text in enumerate(names[name]):
            at = (GAP, top + GAP + line * number)
            lettering.draw(draw, at, text, size=LABEL, fill=INK)
        sheet.paste(strip, (0, top + bands[name]))
        top += bands[name] + strip.height
    return sheet


def pictures(photograph: UInt8[np.ndarray, "*F H W 3"] | Image.Image) -> list[Image.Image]:
    """The frames of a clip, or the one photograph."""
    if isinstance(photograph, Image.Image):
        return [photograph]
    several = photograph if photograph.ndim == 4 else photograph[None]
    return [Image.fromarray(frame) for frame in several]


def reduced(picture: Image.Image, height: int) -> Image.Image:
    """The photograph at the panel's size, its aspect ratio kept."""
    width, high = fitted(picture.size, height)
    size = (max(1, round(width)), max(1, round(high)))
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def fitted(size: tuple[int, int], height: float) -> tuple[float, float]:
    """Width and height of a picture of `size` (width, height) in panels of a height."""
    short, long = sorted(size)
    factor = min(height / size[1], height * WIDEST / size[0])
    factor = max(factor, min(NARROWEST * height / short, LARGEST * height / long))
    return size[0] * factor, size[1] * factor


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
        panels.append(Panel(picture, label, ends(bars, index, part.unit)))
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
        rows.append((label, ends(bars, index, part.unit), panels))
    return rows


def _spread(frames: int, count: int) -> list[int]:
    return np.round(np.linspace(0, frames - 1, count)).astype(int).tolist()


def _frame(index: int) -> str:
    return f"frame {index + 1}"


def ends(bars: Bars, index: int, unit: str) -> str:
    """What the two ends of a map's colours stand for, with its unit."""
    if bars.degenerate[index]:
        return "constant"
    return f"{unit} {_number(bars.low[index])} … {_number(bars.high[index])}".lstrip()


def wrapped(
    panels: Sequence[Panel], columns: int, lettering: Lettering, *, height: int, room: int = 0
) -> Image.Image:
    """Panels in rows of equal length, long labels in lines as wide as a column.

    `height` is what `reduced` was given, and `room` the least width of a column, for sheets that
    must be of one size.
    """
    wide, high = panels[0].picture.size
    fitting = int(columns * WIDEST * height / wide + 0.01)  # fewer of panoramas
    columns = min(columns, max(1, fitting))
    rows = math.ceil(len(panels) / columns)
    across = math.ceil(len(panels) / rows)
    notes = max(lettering.width(panel.note, NUMBERS) for panel in panels)
    column = max(
        wide, room, math.ceil(notes), _column([panel.label for panel in panels], lettering)
    )
    labels = [lettering.lines(panel.label, LABEL, column) for panel in panels]
    lines = [max(map(len, labels[row * across : (row + 1) * across])) for row in range(rows)]
    heights = [high + round(LINE * (LABEL * count + NUMBERS)) + GAP for count in lines]
    sheet = Image.new("RGB", (across * (column + GAP) + GAP, sum(heights) + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (panel, label) in enumerate(zip(panels, labels, strict=True)):
        left = GAP + (index % across) * (column + GAP)
        top = GAP + sum(heights[: index // across])
        sheet.paste(panel.picture, (left + (column - wide) // 2, top))
        top += high
        for line, size, ink in [
            *((line, LABEL, INK) for line in label),
            (panel.note, NUMBERS, PALE),
        ]:
            at = (left + column / 2, top)
            lettering.draw(draw, at, line, size=size, fill=ink, align=0.5)
            top += round(LINE * size)
    return sheet


def _column(labels: Sequence[str], lettering: Lettering) -> int:
    """Room for the longest word, within reason: a portrait photograph may be narrower."""
    words = {word for label in labels for word in label.split()}
    widest = max((lettering.width(word, LABEL) for word in words), default=0.0)
    return math.ceil(min(widest, LONGEST_WORD))


def _table(rows: Sequence[tuple[str, str, list[Panel]]], lettering: Lettering) -> Image.Image:
    """Rows with their label and note to the left."""
    wide, high = rows[0][2][0].picture.size
    notes = max(lettering.width(note, NUMBERS) for _, note, _ in rows)
    margin = max(math.ceil(notes), _column([label for label, _, _ in rows], lettering))
    labels = [lettering.lines(label, LABEL, margin) for label, _, _ in rows]
    cell = max(wide, math.ceil(lettering.width("frame 000", NUMBERS))) + GAP
    texts = [round(LINE * (LABEL * len(label) + NUMBERS)) for label in labels]
    heights = [max(high + round(LINE * NUMBERS), text) + GAP for text in texts]
    left = margin + 2 * GAP
    width = left + max(len(panels) for _, _, panels in rows) * cell
    sheet = Image.new("RGB", (width, sum(heights) + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, (_, note, panels) in enumerate(rows):
        top = GAP + sum(heights[:row])
        at = top + max(0, (high - texts[row]) // 2)
        for line, size, ink in [
            *((line, LABEL, INK) for line in labels[row]),
            (note, NUMBERS, PALE),
        ]:
            lettering.draw(draw, (left - GAP, at), line, size=size, fill=ink, align=1.0)
            at += round(LINE * size)
        for column, panel in enumerate(panels):
            place = left + column * cell
            sheet.paste(panel.picture, (place + (cell - GAP - wide) // 2, top))
            middle = (place + (cell - GAP) / 2, top + high)
            lettering.draw(draw, middle, panel.label, size=NUMBERS, fill=PALE, align=0.5)
    return sheet


def _number(value: float) -> str:
    """Two significant digits, as short as they can be read."""
    if value == 0:
        return "0"
    if 0.001 <= abs(value) < 1000:
        return f"{value:.2g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"
