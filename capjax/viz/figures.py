"""Figures for papers and notebooks, drawn with matplotlib and without its global state."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from capjax.types import Geometry
from capjax.viz.fonts.figure_text import POINTS, FigureText
from capjax.viz.fonts.lettering import FontFiles
from capjax.viz.overlay import UNSEEN, UNSEEN_OPACITY, Scope, drawn
from capjax.viz.parts import mean_of_map, most_relevant
from capjax.viz.strips import ends, fitted, pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = 2.2
"""Height of a panel in inches."""

GAP, NOTE_ROOM = 0.1, 0.2
"""Between panels, and for the numbers under one, in inches."""

TITLE, NOTE = 12, 8
"""Sizes of letters, in points."""

LONGEST_WORD = 2.2
"""In inches: a longer word is cut into lines."""

PALE = "#777777"

LONGEST = 1000
"""Larger photographs are reduced to this side: enough for print at the size of a panel."""

SIGNED_CMAP = "RdBu_r"

FRAMES = 6
"""Of a clip, so many are shown of each word."""


def plot_attention(
    image: UInt8[np.ndarray, "*F H W 3"] | Image.Image,
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
    relevance: Float[np.ndarray, "N F"] | None = None,
    unit: str = "",
    font: FontFiles | None = None,
) -> "Figure":
    """A figure with one subplot a word: the image, the word's map over it, the word as title.

    Under each panel stand the values at the two ends of its colours.

        figure = plot_attention(image, explanation.words, explanation.maps,
                                geometry=explanation.geometry)
        figure.savefig("attention.pdf")

    Of a clip: one row a word with the frames that are most relevant to it, in the order of time.
    Nothing global is touched: no pyplot, no current figure, no backend; in a notebook the figure
    shows itself as the value of a cell.

    Args:
      image: RGB, the whole photograph, of any size and aspect ratio; all frames of a clip.
      words: N of them.
      maps: one a word, [N h w] or [N F h w], drawn as they are: for log-probabilities see
        `scaling.displayed`, which `result[0].plot()` applies.
      cmap: any matplotlib colour map, for maps of one sign; maps with values of both signs are
        drawn in blue (below zero), white and red.
      alpha: opacity of the map.
      geometry: where the grid lies on the image; default: it covers the image.
      smooth: Gaussian blur, in grid cells; `upsample.ARCTIC_SMOOTHING` for the look of the figures
        in Show, Attend and Tell.
      scope, limits: what the colours span, see `overlay.colour_bars`.
      columns: subplots in a row; default: a number that makes the figure about twice as wide as
        high, and `FRAMES` of a clip.
      relevance: of whole frames, which says what frames of a clip are shown; default the mean of
        each frame's map.
      unit: what the maps are, to write before their values.
      font: a file with letters that no font of this machine has, or several in order of preference.

    Raises:
      ValueError: no word, or maps that are not one a word.
      ImportError: matplotlib is not installed; the text says how to get it.
    """
    figure_class = new_figure_class()
    frames = pictures(image)
    maps = _one_a_word(np.asarray(maps, np.float32), len(words), len(frames))
    grid = (int(maps.shape[2]), int(maps.shape[3]))
    first = reduced(frames[0])
    size = (int(first.shape[0]), int(first.shape[1]))
    geometry = geometry or Geometry(size, size, (0, 0, *size), grid)
    if len(frames) == 1:
        chosen = np.zeros((len(words), 1), int)
    else:
        values = mean_of_map(maps) if relevance is None else np.asarray(relevance)
        chosen = most_relevant(values, columns or FRAMES)
    place, bars = drawn(
        maps, geometry, size=size, scope=scope, limits=limits, smooth=smooth, frames=chosen
    )
    text = FigureText.of(font)
    notes = [ends(bars, word, unit) for word in range(len(words))]
    panel = fitted((size[1], size[0]), PANEL)
    column = max(
        panel[0],
        *(min(text.width(word, TITLE), LONGEST_WORD) for word in words),
        *(text.width(note, NOTE) for note in notes),
    )
    if len(frames) == 1:
        columns = columns or _columns(len(words), column / panel[1])
    else:
        columns = chosen.shape[1]
    cells = list(np.ndindex(chosen.shape))
    titles = []
    for word, at in cells:
        title = words[word] if len(frames) == 1 else f"{words[word]} · {chosen[word, at] + 1}"
        titles.append(text.wrapped(title, TITLE, column))
    room = [text.height(title, TITLE) for title in titles]
    figure, axes = _subplots(figure_class, panel, column, room, columns)
    look = {"cmap": SIGNED_CMAP if bars.signed else cmap, "alpha": alpha}
    for axis, title, (word, at) in zip(axes, titles, cells, strict=True):
        axis.imshow(reduced(frames[int(chosen[word, at])]))
        if not bars.degenerate[word]:
            draw_map(axis, place[word, at], **look)
        text.put(axis.set_title(title, pad=4), TITLE)
        note = axis.text(0.5, -3 / (POINTS * panel[1]), notes[word], color=PALE)
        note.set(transform=axis.transAxes, ha="center", va="top")
        text.put(note, NOTE)
        axis.set_axis_off()
    return figure


def draw_map(axis: "Axes", place: Float[np.ndarray, "H W"], **look: Any) -> None:
    """A map's levels over the photograph of a subplot, a veil over what the encoder did not see."""
    veil = np.zeros((*place.shape, 4), np.float32)
    veil[np.isnan(place)] = (*(channel / 255 for channel in UNSEEN), UNSEEN_OPACITY)
    look = {"vmin": 0.0, "vmax": 1.0, "interpolation": "bilinear", **look}
    axis.imshow(veil, extent=look.get("extent"))
    axis.imshow(np.ma.masked_invalid(place), **look)


def reduced(picture: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    """Pixels of a picture, its longest side at most `LONGEST`."""
    picture = picture.convert("RGB")
    picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def new_figure_class() -> "type[Figure]":
    """matplotlib's class, which needs no pyplot; an ImportError says how to get it."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "figures are drawn with matplotlib, which is not installed; "
            "run: pip install 'capjax[viz]'"
        ) from error
    return Figure


def _subplots(
    figure_class: "type[Figure]",
    panel: tuple[float, float],
    column: float,
    room: Sequence[float],
    columns: int,
) -> "tuple[Figure, Sequence[Axes]]":
    """A figure and its subplots in rows, placed in inches: `room` is what each title needs."""
    rows = [max(room[at : at + columns]) + GAP for at in range(0, len(room), columns)]
    line = panel[1] + NOTE_ROOM
    width = columns * (column + GAP) + GAP
    height = sum(rows) + len(rows) * line
    figure = figure_class(figsize=(width, height), dpi=100)
    axes = []
    for index in range(len(room)):
        row, at = divmod(index, columns)
        left = GAP + at * (column + GAP) + (column - panel[0]) / 2
        bottom = height - sum(rows[: row + 1]) - row * line - panel[1]
        axes.append(
            figure.add_axes((left / width, bottom / height, panel[0] / width, panel[1] / height))
        )
    return figure, axes


def _one_a_word(maps: np.ndarray, words: int, frames: int) -> Float[np.ndarray, "N F h w"]:
    if words == 0:
        raise ValueError("got no words; a figure has one subplot a word, so give at least one")
    shape = maps.shape
    if maps.ndim == 3:
        maps = maps[:, None]
    if maps.ndim != 4 or maps.shape[:2] != (words, frames):
        raise ValueError(
            f"got maps of shape {shape} for {words} words over a picture of {frames} frames; "
            f"expected [{words} h w] or [{words} {frames} h w], one map a word and frame"
        )
    return maps


def _columns(words: int, aspect: float) -> int:
    """As many as make the figure about twice as wide as high, in rows of equal length."""
    wanted = max(1, round(math.sqrt(2 * words / aspect)))
    rows = math.ceil(words / wanted)
    return math.ceil(words / rows)
