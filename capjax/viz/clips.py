"""The figures of clips in Ramanishka et al. (2017)."""

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from capjax.explainers.scaling import Values, scale
from capjax.types import Explanation
from capjax.viz import parts
from capjax.viz.figures import SIGNED_CMAP, draw_map, new_figure_class, reduced
from capjax.viz.fonts.figure_text import POINTS, FigureText
from capjax.viz.fonts.lettering import LINE, FontFiles
from capjax.viz.overlay import drawn

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OMITTED = frozenset(
    "a an the "
    "am is are was were be been being has have had do does did will would can could "
    "about above across after against along among around at before behind below beside between by "
    "down during for from in inside into near of off on onto out outside over past through to "
    "toward towards under up upon with within without".split()
)
"""Articles, auxiliaries and prepositions, which the figures leave out: `omit=OMITTED - {"on"}`."""

COLOURS = (
    *("#d1342f", "#1f6fc4", "#2b8a3e", "#d9730d", "#7b3fb5"),
    *("#00838f", "#c2257a", "#7a5c1e", "#4a5fd0", "#5f6b1a"),
)
"""Of words, in turn; all can be read on white."""

ROW, EDGE, ARROWS, PANEL, GAP, CAPTION = 0.24, 0.25, 0.7, 1.8, 0.1, 0.2
"""In inches: a row of the bar, what lies right of it, room for arrows, the side of a square as
large as a frame, what lies between frames, what lies around the sentence."""

BAR_WORD, FRAME_WORD, SENTENCE, BLANK = 10, 11, 12, 5
"""Sizes of letters, and what lies between the words of the sentence, in points."""

ACROSS = 10
"""Most frames in a row."""

BOLD = 1.15
"""How much wider bold letters are than others."""

LEAST, MOST = 0.4, 2.5
"""Sides of a frame are limited as those of a picture of these ratios, width to height."""


@dataclasses.dataclass(frozen=True)
class _Shown:
    """Words that are drawn, with their colours and most relevant frames."""

    words: list[int]
    colours: list[str]
    panels: list[tuple[int, int]]  # (index in `words`, frame)


def plot_clip(
    frames: UInt8[np.ndarray, "F H W 3"],
    explanation: Explanation,
    *,
    omit: Collection[str] = OMITTED,
    per_word: int = 1,
    by: Literal["video", "sentence"] = "video",
    seconds: Sequence[float] | None = None,
    cmap: str = "turbo",
    alpha: float = 0.5,
    values: Values | None = None,
    font: FontFiles | None = None,
) -> "Figure":
    """Figures 1(b) and 5: when and where in a clip the words of a sentence come from.

    Above, a grey bar, words by frames: the darker, the more relevant the frame. Below, the most
    relevant frame of each word with the word's map over it, outlined in the word's colour; an arrow
    comes from its place in the bar, which is outlined alike.

    The greys are the raw relevance of whole frames mapped linearly to [0, 1], white for a word's
    least relevant frame and black for its most relevant one (eq 8): no softmax, no shares (eq 5).
    By "sentence" white and black are the extremes of all words that are shown. The colours of the
    maps span each word's values in all frames.

    Args:
      frames: of the clip, whole and upright, of any size.
      explanation: of these frames.
      omit: lower-case words that are left out, as are words that the captioner was not shown.
      per_word: frames shown of each word.
      by: what the greys span.
      seconds: [F] when each frame is shown, to write beside the bar instead of frame numbers.
      cmap, alpha: of maps of one sign; others are blue below zero and red above.
      values: what the colours of the maps span: "raw", as the paper has it, or "exp" of maps that
        are logarithms; default: of those "exp", see `scaling.natural_values`.
      font: a file with letters that no font of this machine has, or several in order of preference.

    Raises:
      ValueError: a photograph, more or fewer frames than the maps have, or no word left.
      ImportError: matplotlib is not installed.
    """
    part = parts.words(explanation).shown(explanation, values)
    if part.frames < 2 or len(frames) != part.frames:
        raise ValueError(
            f"got maps of {part.frames} frames and {len(frames)} frames; expected a clip of two or "
            "more, and maps of it"
        )
    shown = _choose(part, omit, per_word)
    figure_class, text = new_figure_class(), FigureText.of(font)
    labels = {word: text.written(part.labels[word]) for word in shown.words}
    margin = max(text.width(label, BAR_WORD) for label in labels.values()) * BOLD + 0.15
    pixels = [reduced(Image.fromarray(frames[frame])) for _, frame in shown.panels]
    size = (int(pixels[0].shape[0]), int(pixels[0].shape[1]))
    wide, high = _panel(size)
    cell = max(wide, *(text.width(label, FRAME_WORD) * BOLD for label in labels.values())) + GAP
    rows = math.ceil(len(pixels) / ACROSS)
    across = math.ceil(len(pixels) / rows)
    width = max(margin + across * cell + EDGE, margin + 4.5)
    lines = _lines(part.labels, text, width - 2 * EDGE)
    caption = len(lines) * LINE * SENTENCE / POINTS + CAPTION
    bar = ROW * len(shown.words)
    height = 0.32 + bar + ARROWS + rows * (high + 0.3) + caption
    figure = figure_class(figsize=(width, height), dpi=110)

    def inches(left: float, bottom: float, across: float, up: float) -> Any:
        return (left / width, bottom / height, across / width, up / height)

    bottom = height - 0.32 - bar
    timeline = figure.add_axes(inches(margin, bottom, width - margin - EDGE, bar))
    timeline.set_zorder(-2)  # arrows lie upon the bar, and behind the frames that they pass
    _timeline(timeline, part, shown, by, seconds, labels, text)
    chosen = np.array([frame for _, frame in shown.panels]).reshape(len(shown.words), -1)
    place, bars = drawn(part.maps[shown.words], explanation.geometry, size=size, frames=chosen)
    look = {"cmap": SIGNED_CMAP if bars.signed else cmap, "alpha": alpha}
    step = (width - margin - EDGE) / across
    for index, (word, frame) in enumerate(shown.panels):
        row, column = divmod(index, across)
        left = margin + column * step + (step - wide) / 2
        up = caption + 0.3 + (rows - 1 - row) * (high + 0.3)
        axis = figure.add_axes(inches(left, up, wide, high))
        axis.imshow(pixels[index], aspect="auto")
        if not bars.degenerate[word]:
            draw_map(axis, place[word, index % chosen.shape[1]], aspect="auto", **look)
        _outline(axis, shown.colours[word], labels[shown.words[word]], frame, seconds, text)
        _arrow(figure, timeline, (frame, word), axis, shown.colours[word])
    _caption(figure, lines, shown, caption / 2 / height, text)
    return figure


def _choose(part: parts.Parts, omit: Collection[str], per_word: int) -> _Shown:
    words = [
        index
        for index, word in enumerate(part.labels)
        if word.lower() not in omit and not np.isnan(part.score[index])
    ]
    if not words or per_word < 1:
        raise ValueError(
            f"nothing to show of {' '.join(part.labels)!r} with {per_word} frames a word; give a "
            "shorter `omit`, and at least one frame a word"
        )
    frames = part.most_relevant(per_word)
    panels = [(at, int(frame)) for at, word in enumerate(words) for frame in frames[word]]
    colours = [COLOURS[at % len(COLOURS)] for at in range(len(words))]
    return _Shown(words, colours, panels)


def _timeline(
    axis: "Axes",
    part: parts.Parts,
    shown: _Shown,
    by: Literal["video", "sentence"],
    seconds: Sequence[float] | None,
    labels: Mapping[int, str],
    text: FigureText,
) -> None:
    """The bar of words by frames, and the outline of every frame shown below."""
    from matplotlib.patches import Rectangle

    grey = scale(part.relevance[shown.words][:, :, None, None], by=by)[:, :, 0, 0]
    axis.imshow(grey, cmap="gray_r", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axis.set_yticks(range(len(shown.words)), [labels[word] for word in shown.words])
    for label, colour in zip(axis.get_yticklabels(), shown.colours, strict=True):
        label.set(color=colour, fontweight="bold")
        text.put(label, BAR_WORD)
    for word in range(1, len(shown.words)):
        axis.axhline(word - 0.5, color="white", linewidth=2)
    for word, frame in shown.panels:
        cell = Rectangle((frame - 0.5, word - 0.5), 1, 1, fill=False, linewidth=2)
        cell.set(edgecolor=shown.colours[word], zorder=3, clip_on=False)
        axis.add_patch(cell)
    marks = np.unique(np.round(np.linspace(0, part.frames - 1, min(part.frames, 6))).astype(int))
    names = [_when(int(mark), seconds) for mark in marks]
    axis.set_xticks(marks, names, fontsize=8)
    axis.tick_params(length=0)
    axis.xaxis.tick_top()
    axis.spines[:].set_color("#999999")


def _when(frame: int, seconds: Sequence[float] | None) -> str:
    return f"frame {frame + 1}" if seconds is None else f"{seconds[frame]:.1f} s"


def _outline(
    axis: "Axes",
    colour: str,
    word: str,
    frame: int,
    seconds: Sequence[float] | None,
    text: FigureText,
) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set(color=colour, linewidth=3.5)
    label = axis.set_xlabel(word, color=colour, fontweight="bold", labelpad=3)
    text.put(label, FRAME_WORD)
    axis.text(
        *(0.97, 0.05, _when(frame, seconds)),
        transform=axis.transAxes,
        ha="right",
        fontsize=7,
        color="white",
        bbox={"facecolor": "#000000a0", "edgecolor": "none", "pad": 1.5},
    )


def _arrow(
    figure: "Figure", timeline: "Axes", cell: tuple[int, int], panel: "Axes", colour: str
) -> None:
    """From a frame's cell (column, row) in the bar to the middle of the panel's upper edge."""
    from matplotlib.patches import ConnectionPatch

    arrow = ConnectionPatch(
        (cell[0], cell[1] + 0.5),
        (0.5, 1.02),
        timeline.transData,
        panel.transAxes,
        arrowstyle="-|>",
        mutation_scale=12,
        color=colour,
        linewidth=1.6,
        zorder=-1,
    )
    figure.add_artist(arrow)


def _caption(
    figure: "Figure",
    lines: Sequence[Sequence[tuple[int, str]]],
    shown: _Shown,
    height: float,
    text: FigureText,
) -> None:
    """The sentence at the bottom, its words in their colours and the omitted ones in grey."""
    from matplotlib.offsetbox import AnchoredOffsetbox, HPacker, TextArea, VPacker
    from matplotlib.text import Text

    colours = dict(zip(shown.words, shown.colours, strict=True))
    rows: list[Artist] = []
    for line in lines:
        areas: list[Artist] = []
        for index, word in line:
            weight = "bold" if index in colours else "normal"
            colour = colours.get(index, "#777777")
            area = TextArea(word, textprops={"color": colour, "fontweight": weight})
            for artist in area.findobj(Text):
                text.put(artist, SENTENCE)
            areas.append(area)
        rows.append(HPacker(children=areas, align="baseline", pad=0, sep=BLANK))
    figure.add_artist(
        AnchoredOffsetbox(
            "center",
            child=VPacker(children=rows, align="center", pad=0, sep=BLANK),
            frameon=False,
            bbox_to_anchor=(0.5, height),
            bbox_transform=figure.transFigure,
            pad=0,
            borderpad=0,
        )
    )


def _lines(words: Sequence[str], text: FigureText, width: float) -> list[list[tuple[int, str]]]:
    """The sentence in lines of at most `width` inches, each word with its number."""
    lines: list[list[tuple[int, str]]] = [[]]
    left = width
    for index, word in enumerate(map(text.written, words)):
        room = text.width(word, SENTENCE) * BOLD + BLANK / POINTS
        if lines[-1] and room > left:
            lines.append([])
            left = width
        lines[-1].append((index, word))
        left -= room
    return lines


def _panel(size: tuple[int, int]) -> tuple[float, float]:
    """Width and height in inches of a frame [H W]: all shapes have the same area, within limits."""
    ratio = float(np.clip(size[1] / size[0], LEAST, MOST))
    side = PANEL * ratio**0.5
    return side, side / ratio
