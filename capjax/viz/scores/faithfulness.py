"""The table of faithfulness as a picture: one row a method, each column coloured by rank."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from capjax.metrics.faithfulness_summary import Column
from capjax.metrics.faithfulness_table import ARROWS, cell, shown_columns, speed
from capjax.viz.figures import PALE, new_figure_class

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW, HEAD, NAME, WIDTH, LINE = 0.42, 0.72, 2.1, 1.12, 0.2
"""Inches: height of a row and of the heading, width of the first and of other columns, a line."""
BEST, WORST = (0.62, 0.80, 0.93), (1.0, 1.0, 1.0)
"""Colours of the first and of the last rank of a column."""
WARNING = "#a33"
LETTERS = 15
"""Of a small line of text, an inch."""


def plot_faithfulness(
    faithfulness: Mapping[str, Mapping[str, Any]], *, title: str, notes: Sequence[str] = ()
) -> "Figure":
    """A figure of the table; values stand over their 95 % intervals.

    Args:
      faithfulness: method -> its scores, or `refused`, the reason why it has none.
      title: what was measured, on what.
      notes: sentences below the table.

    Raises:
      ImportError: matplotlib is not installed; the text says how to get it.
    """
    columns = shown_columns(faithfulness)
    width = NAME + WIDTH * (len(columns) + 1)
    told = [line for note in notes for line in _lines(note, int(width * LETTERS))]
    height = HEAD + LINE * 2 + ROW * len(faithfulness) + LINE * (len(told) + 1)
    figure = new_figure_class()(figsize=(width, height), dpi=100)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, width), ylim=(height, 0))
    axis.set_axis_off()
    axis.text(0.1, LINE, title, va="center", fontsize=11, weight="bold")
    for place, column in enumerate(columns):
        _heading(axis, column, NAME + WIDTH * (place + 0.5), LINE * 2 + HEAD / 2)
    speed_at = NAME + WIDTH * (len(columns) + 0.5)
    axis.text(speed_at, LINE * 2 + HEAD / 2, "images/s", ha="center", va="center", fontsize=9)
    shades = {column.name: _shades(faithfulness, column) for column in columns}
    for row, (method, own) in enumerate(faithfulness.items()):
        top = LINE * 2 + HEAD + ROW * row
        middle = top + ROW / 2
        axis.plot([0.1, width - 0.1], [top, top], color="#ddd", linewidth=0.6)
        if "refused" in own:
            axis.text(0.1, middle, method, va="center", fontsize=9, color=PALE)
            reason = _lines(own["refused"], int((width - NAME) * LETTERS))[0]
            axis.text(NAME, middle, reason, va="center", fontsize=7.5, color=PALE)
            continue
        insensitive = bool(own.get("insensitive"))
        axis.text(0.1, middle - 0.07 * insensitive, method, va="center", fontsize=9)
        if insensitive:
            axis.text(
                0.1,
                middle + 0.11,
                "insensitive to the weights",
                va="center",
                fontsize=6.5,
                color=WARNING,
            )
        for place, column in enumerate(columns):
            left = NAME + WIDTH * place
            value, interval = cell(own, column)
            shade = shades[column.name].get(method)
            if shade is not None:
                axis.fill(
                    [left, left + WIDTH, left + WIDTH, left],
                    [top, top, top + ROW, top + ROW],
                    color=shade,
                    linewidth=0,
                )
            axis.text(left + WIDTH / 2, middle - 0.07, value, ha="center", va="center", fontsize=9)
            axis.text(
                left + WIDTH / 2,
                middle + 0.11,
                interval,
                ha="center",
                va="center",
                fontsize=6.5,
                color=PALE,
            )
        axis.text(speed_at, middle, speed(own), ha="center", va="center", fontsize=9)
    for number, line in enumerate(told):
        below = LINE * 2 + HEAD + ROW * len(faithfulness) + LINE * (number + 0.8)
        axis.text(0.1, below, line, va="center", fontsize=8)
    return figure


def _heading(axis: Any, column: Column, x: float, y: float) -> None:
    words = column.title.replace(", ", "\n").replace(" ", "\n", 1 if "," not in column.title else 0)
    text = f"{words} {ARROWS[column.better]}".rstrip()
    axis.text(x, y, text, ha="center", va="center", fontsize=9, linespacing=1.25)


def _shades(
    faithfulness: Mapping[str, Mapping[str, Any]], column: Column
) -> dict[str, tuple[float, ...]]:
    """Method -> colour of its cell, by its rank among those that have a number."""
    names = [name for name, own in faithfulness.items() if column.name in own]
    if column.better is None or len(names) < 2:
        return {}
    sign = -1 if column.better == "high" else 1
    values = [sign * faithfulness[name][column.name] for name in names]
    ranks = np.searchsorted(np.unique(values), values)
    parts = ranks / max(int(ranks.max()), 1)
    return {
        name: tuple(np.array(BEST) * (1 - part) + np.array(WORST) * part)
        for name, part in zip(names, parts, strict=True)
    }


def _lines(text: str, letters: int) -> list[str]:
    return textwrap.wrap(text, max(letters, 20)) or [""]
