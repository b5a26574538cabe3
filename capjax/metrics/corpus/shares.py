"""Shares of images: their intervals, and which of many are surely more than a half."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.stats import binom, norm

LEVEL = 0.95
SIGNIFICANCE = 0.05
"""Adjusted probability up to which something counts as found."""


def wilson(count: int, of: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share, which holds for few images and shares near 0 or 1.

    Args:
      count: of the images, those of which something holds.
      of: all images; at least one.
      level: of the interval.
    """
    if not 0 <= count <= of or of < 1:
        raise ValueError(f"got {count} of {of} images; expected 0 to all of at least one")
    z = float(norm.ppf((1 + level) / 2))
    share, around = count / of, z**2 / of
    middle = (share + around / 2) / (1 + around)
    reach = z * math.sqrt(share * (1 - share) / of + around / (4 * of)) / (1 + around)
    low = 0.0 if count == 0 else max(0.0, middle - reach)  # rounding
    high = 1.0 if count == of else min(1.0, middle + reach)
    return low, high


def above_half(counts: Sequence[int], of: Sequence[int]) -> Float[np.ndarray, " N"]:
    """Probabilities of so many images or more, were it true of half of all: the sign test.

    Args:
      counts: of the images of each row, those of which something holds.
      of: all images of each row.
    """
    found: np.ndarray = binom.sf(np.asarray(counts) - 1, np.asarray(of), 0.5)
    return np.asarray(found, np.float64)


def holm(probabilities: Sequence[float] | Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Probabilities adjusted for how many there are, by Holm (1979).

    Calling "found" what stays at or below `SIGNIFICANCE` is wrong once or more in at most one audit
    of twenty, however the tests depend on each other. Benjamini and Hochberg's rule finds more, but
    lets a share of what is found be wrong, and is proven for tests that depend on each other in
    certain ways only; the groups and measures of a corpus depend in all ways.
    """
    p = np.asarray(probabilities, np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted
