"""A figure of what each word owes to the words before it, drawn with matplotlib."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from capjax.viz.figures import SIGNED_CMAP, new_figure_class
from capjax.viz.fonts.figure_text import FigureText
from capjax.viz.fonts.lettering import FontFiles
from capjax.viz.language.arrows import arrows, check_effects
from capjax.viz.language.page import signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL = 0.42
"""Side of a cell of the heat map, in inches."""
LETTERS, NUMBERS = 10, 7
"""Sizes of words and of numbers, in points."""
SPACE = 0.22
"""Between words above the arrows, and around the figure, in inches."""


def plot_linguistic(
    words: Sequence[str],
    effects: Float[np.ndarray, "N N"],
    *,
    font: FontFiles | None = None,
) -> "Figure":
    """The sentence with arrows under it, and below that a heat map, word by earlier word.

        figure = plot_linguistic(result[0].words, result[0].linguistic["leave_one_out"])
        figure.savefig("words.pdf")

    An arrow goes from an earlier word to the one that owes it bits: red where it makes the later
    word more probable, blue where less, as thick as the effect; small ones are left out (see
    `arrows`). Nothing global is touched, see `plot_attention`.

    Args:
      words: N of them, two or more.
      effects: bits that each word (row) owes to each earlier one (column).
      font: a file with letters that no font of this machine has, or several in order of preference.

    Raises:
      ValueError: fewer than two words, or effects that are not one a pair of them.
      ImportError: matplotlib is not installed; the text says how to get it.
    """
    check_effects(effects, words)
    if len(words) < 2:
        raise ValueError(f"got {len(words)} word; a word owes something to another, so give two")
    text = FigureText.of(font)
    words = [text.written(word) for word in words]
    widths = [text.width(word, LETTERS) for word in words]
    margin = max(widths) + SPACE
    line = sum(widths) + SPACE * (len(words) + 1)
    side = CELL * (len(words) - 1)
    width = max(line, margin + side + SPACE)
    below = 1.3
    height = below + SPACE + side + margin + SPACE
    figure = new_figure_class()(figsize=(width, height), dpi=100)
    top = figure.add_axes((0, 1 - below / height, 1, below / height))
    _draw_arrows(top, text, words, widths, effects, (width, below))
    place = (margin / width, SPACE / height, side / width, side / height)
    _draw_cells(figure.add_axes(place), text, words, np.asarray(effects, np.float64))
    return figure


def _draw_arrows(
    axis: "Axes",
    text: FigureText,
    words: Sequence[str],
    widths: Sequence[float],
    effects: Float[np.ndarray, "N N"],
    size: tuple[float, float],
) -> None:
    """In inches from the lower left corner."""
    width, height = size
    axis.set(xlim=(0, width), ylim=(0, height))
    axis.set_axis_off()
    at = (width - sum(widths) - SPACE * (len(words) - 1)) / 2
    middles = []
    base = height - 0.36
    for word, wide in zip(words, widths, strict=True):
        middles.append(at + wide / 2)
        text.put(axis.text(middles[-1], base + 0.06, word, ha="center", va="bottom"), LETTERS)
        at += wide + SPACE
    for arrow in arrows(effects):
        one, other = middles[arrow.start], middles[arrow.end]
        deep = min(base - 0.1, 0.2 + 0.22 * (other - one))
        axis.annotate(
            "",
            xy=(other - 0.03, base),
            xytext=(one + 0.03, base),
            arrowprops={
                "arrowstyle": "-|>",
                "connectionstyle": f"arc3,rad={2 * deep / max(other - one, 0.1):.3f}",
                "linewidth": 0.8 + 2.2 * arrow.strength,
                "color": "#b2182b" if arrow.bits > 0 else "#2166ac",
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )


def _draw_cells(
    axis: "Axes", text: FigureText, words: Sequence[str], effects: Float[np.ndarray, "N N"]
) -> None:
    shown = effects[1:, :-1]
    later = np.triu(np.ones(shown.shape, bool), k=1)
    largest = max(float(np.abs(np.where(later, 0.0, shown)).max()), 1e-6)
    masked = np.ma.masked_where(later, shown)
    axis.imshow(masked, cmap=SIGNED_CMAP, vmin=-largest, vmax=largest, aspect="auto")
    axis.set_xticks(range(len(words) - 1), words[:-1], rotation=90)
    axis.set_yticks(range(len(words) - 1), words[1:])
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    for label in (*axis.get_xticklabels(), *axis.get_yticklabels()):
        text.put(label, LETTERS)
    axis.spines[:].set_visible(False)
    for row, column in zip(*np.nonzero(~later), strict=True):
        bits = float(shown[row, column])
        ink = "white" if abs(bits) > 0.6 * largest else "#222222"
        note = axis.text(column, row, signed(bits), ha="center", va="center", color=ink)
        text.put(note, NUMBERS)
