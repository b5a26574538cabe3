"""The figures of clips in Ramanishka et al. (2017), and its measure of a frame as a curve."""

import dataclasses
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from capjax.explain.scaling import scale
from capjax.types import Explanation
from capjax.viz import parts
from capjax.viz.figures import SIGNED_CMAP, draw_map, new_figure_class, reduced
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

ROW, LABEL, EDGE, ARROWS, PANEL, CAPTION = 0.24, 0.09, 0.25, 0.7, 1.35, 0.42
"""In inches: a row of the bar, a letter before it, what lies right of it, room for arrows, a frame,
the sentence."""


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

    Raises:
      ValueError: a photograph, more or fewer frames than the maps have, or no word left.
      ImportError: matplotlib is not installed.
    """
    part = parts.words(explanation)
    if part.frames < 2 or len(frames) != part.frames:
        raise ValueError(
            f"got maps of {part.frames} frames and {len(frames)} frames; expected a clip of two or "
            "more, and maps of it"
        )
    shown = _choose(part, omit, per_word)
    margin = LABEL * max(len(part.labels[word]) for word in shown.words) + 0.15
    pixels = [reduced(Image.fromarray(frames[frame])) for _, frame in shown.panels]
    size = (int(pixels[0].shape[0]), int(pixels[0].shape[1]))
    wide = PANEL * float(np.clip(size[1] / size[0], 0.4, 2.0))
    sentence = LABEL * (len(" ".join(part.labels)) + 4) * 1.2
    width = max(margin + len(pixels) * (wide + 0.1) + EDGE, margin + 4.5, sentence)
    bar = ROW * len(shown.words)
    height = 0.32 + bar + ARROWS + PANEL + 0.3 + CAPTION
    figure = new_figure_class()(figsize=(width, height), dpi=110)

    def inches(left: float, bottom: float, across: float, up: float) -> Any:
        return (left / width, bottom / height, across / width, up / height)

    bottom = height - 0.32 - bar
    timeline = figure.add_axes(inches(margin, bottom, width - margin - EDGE, bar))
    _timeline(timeline, part, shown, by, seconds)
    chosen = np.array([frame for _, frame in shown.panels]).reshape(len(shown.words), -1)
    place, bars = drawn(part.maps[shown.words], explanation.geometry, size=size, frames=chosen)
    look = {"cmap": SIGNED_CMAP if bars.signed else cmap, "alpha": alpha}
    step = (width - margin - EDGE) / len(pixels)
    for index, (word, frame) in enumerate(shown.panels):
        left = margin + index * step + (step - wide) / 2
        axis = figure.add_axes(inches(left, CAPTION + 0.3, wide, PANEL))
        axis.imshow(pixels[index], aspect="auto")
        if not bars.degenerate[word]:
            draw_map(axis, place[word, index % chosen.shape[1]], aspect="auto", **look)
        label = part.labels[shown.words[word]]
        _outline(axis, shown.colours[word], label, frame, seconds)
        _arrow(figure, timeline, (frame, word), axis, shown.colours[word])
    _caption(figure, explanation.words, shown, CAPTION / 2 / height)
    return figure


def plot_representativeness(
    kl: Float[np.ndarray, "N F"] | Float[np.ndarray, " F"],
    seconds: Sequence[float] | None = None,
) -> "Figure":
    """How well each frame alone stands for the whole clip (eq 6): the lower, the better.

    Args:
      kl: Kullback-Leibler divergence, in nats, of the next word given one frame from the next word
        given the clip: one row a word, drawn thin, and their mean; or that mean.
      seconds: [F] when each frame is shown; default frame numbers.

    Raises:
      ValueError: another shape, or values clearly below zero, which no divergence has.
      ImportError: matplotlib is not installed.
    """
    kl = np.atleast_2d(np.asarray(kl, np.float64))
    if kl.ndim != 2 or not kl.size or (seconds is not None and len(seconds) != kl.shape[1]):
        there = "none" if seconds is None else len(seconds)
        raise ValueError(
            f"got divergences of shape {kl.shape} and {there} seconds; expected [N F] or [F], and "
            "[F] seconds"
        )
    if kl.min() < -1e-4:
        raise ValueError(
            f"got divergences down to {kl.min():.3g}; expected zero or more: saliency maps are "
            "their negative"
        )
    figure = new_figure_class()(figsize=(6.4, 2.8), dpi=110, layout="constrained")
    axis = figure.subplots()
    times = np.arange(1, kl.shape[1] + 1) if seconds is None else np.asarray(seconds)
    if len(kl) > 1:
        axis.plot(times, kl.T, color="#b8c0ca", linewidth=0.8)
    mean = kl.mean(axis=0)
    best = int(np.argmin(mean))
    axis.plot(times, mean, color=COLOURS[1], linewidth=2, marker="o", markersize=3)
    axis.plot(times[best], mean[best], "o", color=COLOURS[0], markersize=8)
    where = f"frame {best + 1}" if seconds is None else f"{times[best]:.1f} s"
    axis.set_title(f"most representative: {where}", fontsize=10, loc="left")
    axis.set(xlabel="frame" if seconds is None else "seconds", ylabel="information lost (nats)")
    axis.set_ylim(bottom=0)
    axis.spines[["top", "right"]].set_visible(False)
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
) -> None:
    """The bar of words by frames, and the outline of every frame shown below."""
    from matplotlib.patches import Rectangle

    grey = scale(part.relevance[shown.words][:, :, None, None], by=by)[:, :, 0, 0]
    axis.imshow(grey, cmap="gray_r", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axis.set_yticks(range(len(shown.words)), [part.labels[word] for word in shown.words])
    for label, colour in zip(axis.get_yticklabels(), shown.colours, strict=True):
        label.set(color=colour, fontweight="bold", fontsize=10)
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
    axis: "Axes", colour: str, word: str, frame: int, seconds: Sequence[float] | None
) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set(color=colour, linewidth=3.5)
    axis.set_xlabel(word, color=colour, fontweight="bold", fontsize=11, labelpad=3)
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
    )
    figure.add_artist(arrow)


def _caption(figure: "Figure", words: Sequence[str], shown: _Shown, height: float) -> None:
    """The sentence at the bottom, its words in their colours and the omitted ones in grey."""
    from matplotlib.offsetbox import AnchoredOffsetbox, HPacker, TextArea

    colours = dict(zip(shown.words, shown.colours, strict=True))
    areas: list[Artist] = [
        TextArea(
            word,
            textprops={
                "color": colours.get(index, "#777777"),
                "fontweight": "bold" if index in colours else "normal",
                "fontsize": 12,
            },
        )
        for index, word in enumerate(words)
    ]
    line = HPacker(children=areas, align="baseline", pad=0, sep=5)
    figure.add_artist(
        AnchoredOffsetbox(
            "center",
            child=line,
            frameon=False,
            bbox_to_anchor=(0.5, height),
            bbox_transform=figure.transFigure,
            pad=0,
            borderpad=0,
        )
    )
