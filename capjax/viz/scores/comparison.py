"""Scores of the same images by two captioners: distributions, and one against another."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from capjax.viz.figures import new_figure_class

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = (6, 24)
"""Fewest and most of a histogram; between them twice the root of the number of images."""
PANEL = (4.3, 3.3)
"""Inches of a panel with its labels."""


@dataclasses.dataclass(frozen=True, eq=False)
class Histogram:
    """How often each value of a score comes.

    Attributes:
      series: name -> one value an image.
      across: the score.
    """

    series: Mapping[str, Float[np.ndarray, " N"]]
    across: str

    def plot(self, axes: "Axes") -> None:
        """Outlines over the same bins, a dashed line at each mean."""
        from matplotlib.ticker import MaxNLocator

        several = np.concatenate(list(self.series.values()))
        most = max(map(len, self.series.values()))
        bins = int(np.clip(2 * np.sqrt(most), *BINS))
        edges = np.histogram_bin_edges(several, bins=bins).tolist()
        for number, (name, values) in enumerate(self.series.items()):
            colour = f"C{number}"
            label = f"{name} (mean {np.mean(values):.3f})"
            axes.hist(values, bins=edges, histtype="stepfilled", color=colour, alpha=0.15)
            axes.hist(values, bins=edges, histtype="step", color=colour, label=label)
            axes.axvline(float(np.mean(values)), color=colour, linewidth=1, linestyle="--")
        axes.set(xlabel=self.across, ylabel="images")
        axes.set_ylim(top=axes.get_ylim()[1] * (1.12 + 0.11 * len(self.series)))  # for the legend
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="upper left", framealpha=0.85, edgecolor="none", fontsize=8)


@dataclasses.dataclass(frozen=True, eq=False)
class Scatter:
    """One score against another, a point an image.

    Attributes:
      x, y: the values.
      across, up: what they are.
      note: above the panel.
      alike: whether both are the same score; then a line shows where they are equal.
    """

    x: Float[np.ndarray, " N"]
    y: Float[np.ndarray, " N"]
    across: str
    up: str
    note: str
    alike: bool = False

    def plot(self, axes: "Axes") -> None:
        """Points, so pale that many on one place are seen."""
        if self.alike:
            both = np.concatenate([self.x, self.y])
            ends = [float(both.min()), float(both.max())]
            axes.plot(ends, ends, color="0.6", linewidth=1, linestyle="--")
        axes.scatter(self.x, self.y, s=14, alpha=0.4, linewidths=0, color="C0")
        axes.set(xlabel=self.across, ylabel=self.up)
        axes.set_title(self.note, fontsize=9)


def plot_comparison(rows: Sequence[Sequence[Histogram | Scatter]], *, title: str) -> "Figure":
    """A figure of panels in rows.

    Raises:
      ImportError: matplotlib is not installed; the text says how to get it.
    """
    columns = max(map(len, rows))
    size = (PANEL[0] * columns, PANEL[1] * len(rows) + 0.4)
    figure = new_figure_class()(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes_row, panels in zip(grid, rows, strict=True):
        for axes, panel in zip(axes_row, panels, strict=False):
            panel.plot(axes)
        for axes in axes_row[len(panels) :]:
            axes.set_axis_off()
    figure.suptitle(title, fontsize=11)
    return figure
