"""Is a number higher in one group of images than in the others?"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import mannwhitneyu

from capjax.metrics.intervals import bootstrap_intervals


@dataclasses.dataclass(frozen=True)
class Compared:
    """A group and the images outside it.

    Attributes:
      images: of the group, with a number.
      mean, low, high: of the group, and its 95 % bootstrap interval over images.
      others: mean outside the group.
      above: probability that an image of the group has the larger number, ties counted half.
      p: two-sided, of Mann and Whitney's test; 1 where all numbers are equal.
    """

    images: int
    mean: float
    low: float
    high: float
    others: float
    above: float
    p: float


def compare_groups(
    values: Float[np.ndarray, " N"], codes: Int[np.ndarray, " N"], *, least: int
) -> Mapping[int, Compared]:
    """Each group against all other images.

    Args:
      values: of the images; NaN where it is not known.
      codes: group of each image; -1 of none, which is left out.
      least: images that a group and the others need.
    """
    kept = np.isfinite(values) & (codes >= 0)
    values, codes = values[kept], codes[kept]
    found = {}
    for code in np.unique(codes):
        inside = codes == code
        own, others = values[inside], values[~inside]
        if min(len(own), len(others)) < least:
            continue
        above, p = 0.5, 1.0
        if np.ptp(values) > 0:
            test = mannwhitneyu(own, others, method="asymptotic")
            above, p = float(test.statistic) / (len(own) * len(others)), float(test.pvalue)
        low, high = bootstrap_intervals(own[None], range(len(own)))[0]
        means = float(own.mean()), float(low), float(high), float(others.mean())
        found[int(code)] = Compared(len(own), *means, above, p)
    return found
