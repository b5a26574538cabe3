"""How well each frame stands for its clip (Ramanishka et al. 2017, eq 6), as a curve."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from capjax.viz.clips import COLOURS
from capjax.viz.figures import new_figure_class

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
