"""Mean and spread of numbers that come one by one."""

import dataclasses
import math

from scipy.stats import t

from capjax.metrics.corpus.shares import LEVEL


@dataclasses.dataclass(slots=True)
class Moments:
    """Mean and spread of the numbers added so far, by Welford's sums (1962), which do not cancel.

    Attributes:
      count: of the numbers.
      mean: of them; 0 of none.
      power: sum of squared distances from the mean.
    """

    count: int = 0
    mean: float = 0.0
    power: float = 0.0

    def add(self, value: float) -> None:
        """Takes one more."""
        self.count += 1
        off = value - self.mean
        self.mean += off / self.count
        self.power += off * (value - self.mean)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Student's interval of the mean; (NaN, NaN) of fewer than two numbers."""
        if self.count < 2:
            return math.nan, math.nan
        error = math.sqrt(self.power / (self.count - 1) / self.count)
        reach = float(t.ppf((1 + level) / 2, self.count - 1)) * error
        return self.mean - reach, self.mean + reach
