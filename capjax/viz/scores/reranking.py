"""How far reranking lowers hallucination, and what it costs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from capjax.viz.figures import new_figure_class

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_reranking(points: Sequence[Mapping[str, Any]], *, allowed: float, title: str) -> "Figure":
    """A figure of CHAIR-i against CIDEr, a point a weight, the search's own order first.

    Args:
      points: see `evaluate.hallucination.reranking.score_curve`.
      allowed: share of the first point's CIDEr, below which a line is drawn.
      title: above the axes.

    Raises:
      ImportError: matplotlib is not installed; the text says how to get it.
    """
    figure = new_figure_class()(figsize=(5.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    across = [point["cider"]["value"] for point in points]
    up = [point["chair_i"]["value"] for point in points]
    axes.plot(across, up, marker="o")
    axes.plot(across[:1], up[:1], marker="o", color="black")
    for point, place in zip(points, zip(across, up, strict=True), strict=True):
        axes.annotate(
            f"{point['weight']:g}", place, xytext=(5, 5), textcoords="offset points", fontsize=8
        )
    limit = (1 - allowed) * across[0]
    axes.axvline(limit, color="0.6", linewidth=1, linestyle="--")
    axes.annotate(
        f"{allowed:.0%} less CIDEr",
        (limit, 1),
        xycoords=("data", "axes fraction"),
        xytext=(-4, -4),
        textcoords="offset points",
        fontsize=8,
        rotation=90,
        horizontalalignment="right",
        verticalalignment="top",
    )
    axes.set(xlabel="CIDEr", ylabel="CHAIR-i: share of object words", title=title)
    axes.margins(0.08)
    return figure
