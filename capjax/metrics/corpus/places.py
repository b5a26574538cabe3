"""Where on the image maps lie: at its centre, at its border, and how far two maps differ."""

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist

from capjax.metrics.faithfulness import rank_correlation

CENTRE = 0.5
"""Share of the height and of the width that is called the centre, in the middle of each."""


def centre_weights(grid: tuple[int, int]) -> Float[np.ndarray, "h w"]:
    """What share of each cell lies in the centre of the grid."""
    rows, columns = (_inside(cells) for cells in grid)
    return np.outer(rows, columns)


def _inside(cells: int) -> Float[np.ndarray, " n"]:
    edges = np.arange(cells + 1) / cells
    low, high = (1 - CENTRE) / 2, (1 + CENTRE) / 2
    return np.diff(np.clip(edges, low, high)) * cells


def border_weights(grid: tuple[int, int]) -> Float[np.ndarray, "h w"]:
    """1 in the outermost cells, 0 in others."""
    weights = np.ones(grid)
    weights[1:-1, 1:-1] = 0
    return weights


def bias(
    shares: Float[np.ndarray, "... h w"], weights: Float[np.ndarray, "h w"]
) -> Float[np.ndarray, "..."]:
    """How many times as much of each map lies in a region as of a uniform map.

    Args:
      shares: maps that sum to one.
      weights: share of each cell that is in the region.
    """
    found: np.ndarray = (shares * weights).sum(axis=(-2, -1)) / weights.mean()
    return found


def distances(
    one: Float[np.ndarray, "N P"], other: Float[np.ndarray, "M P"]
) -> Float[np.ndarray, "N M"]:
    """Total variation between maps that sum to one: from 0 for equal maps to 1 for apart ones."""
    found: np.ndarray = cdist(one, other, "cityblock") / 2
    return found


def rank_correlations(
    one: Float[np.ndarray, "N P"], other: Float[np.ndarray, "N P"]
) -> Float[np.ndarray, " N"]:
    """Spearman's correlation of each map with its partner; NaN where one is constant."""
    constant = [(own == own[:, :1]).all(axis=1) for own in (one, other)]
    return np.where(constant[0] | constant[1], np.nan, rank_correlation(one, other))
