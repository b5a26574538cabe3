"""Calibration curves: how often what is said to be probable happens."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from capjax.viz.figures import new_figure_class

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_calibration(
    curves: Mapping[str, Sequence[Mapping[str, float]]], *, title: str
) -> "Figure":
    """A figure with one line a curve, and the diagonal on which predictions are right.

    Args:
      curves: name -> bins, see `metrics.hallucination.calibration_curve`.
      title: above the axes.

    Raises:
      ImportError: matplotlib is not installed; the text says how to get it.
    """
    figure = new_figure_class()(figsize=(4.6, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
    for name, bins in curves.items():
        count = int(sum(own["n"] for own in bins))
        axes.plot(
            [own["predicted"] for own in bins],
            [own["observed"] for own in bins],
            marker="o",
            label=f"{name} ({count} words)",
        )
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", title=title)
    axes.set(xlabel="predicted probability", ylabel="share that is hallucinated")
    axes.legend(loc="upper left", frameon=False)
    return figure
