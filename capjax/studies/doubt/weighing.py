"""Signals of words weighed by a logistic regression, its ridge chosen on photographs left out."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from capjax.metrics.logistic import fit_logistic, logistic, standardisation

RIDGE = 1.0
RIDGES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""To choose from."""
SURE = 1e-6
"""No probability is nearer to 0 or 1 where its logarithm is taken."""


@dataclasses.dataclass(frozen=True)
class Weighing:
    """Log odds of a word: a bias, and weights of its signals, standardised.

    Attributes:
      means, scales: by which each signal is standardised.
      weights: of the standardised signals.
      bias: of an average word.
      ridge: that the weights were fitted with.
    """

    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    ridge: float = RIDGE

    @classmethod
    def fit(
        cls, table: Float[np.ndarray, "N S"], truth: Bool[np.ndarray, " N"], ridge: float = RIDGE
    ) -> "Weighing":
        """Of signals and whether each word is hallucinated.

        Words of one kind only tell nothing apart: the bias alone is fitted then, as if half a word
        of each kind were there too.
        """
        means, scales = standardisation(table)
        wrong, count = int(truth.sum()), len(truth)
        if 0 < wrong < count:
            known = truth.astype(np.float64)
            *weights, bias = fit_logistic((table - means) / scales, known, ridge=ridge)[0]
        else:
            weights, bias = np.zeros(table.shape[1]), np.log((wrong + 0.5) / (count - wrong + 0.5))
        middle, scale, weight = (tuple(map(float, own)) for own in (means, scales, weights))
        return cls(middle, scale, weight, float(bias), ridge)

    @classmethod
    def chosen(
        cls,
        table: Float[np.ndarray, "N S"],
        truth: Bool[np.ndarray, " N"],
        folds: Int[np.ndarray, " N"],
        ridges: Sequence[float] = RIDGES,
    ) -> "Weighing":
        """As `fit`, with the ridge that is least surprised by folds that it was not fitted on."""
        losses = {
            ridge: sum(
                _loss(cls.fit(table[folds != fold], truth[folds != fold], ridge), table, truth, own)
                for fold in np.unique(folds)
                if (own := folds == fold).any() and not own.all()
            )
            for ridge in ridges
        }
        return cls.fit(table, truth, min(losses, key=lambda ridge: losses[ridge]))

    def added(self, table: Float[np.ndarray, "N S"]) -> Float[np.ndarray, "N S"]:
        """What each signal adds to the log odds of an average word."""
        return (table - self.means) / self.scales * self.weights

    def __call__(self, table: Float[np.ndarray, "N S"]) -> Float[np.ndarray, " N"]:
        """The probability that each word is hallucinated."""
        return logistic(self.added(table).sum(axis=1) + self.bias)

    def of(self, columns: Sequence[int]) -> "Weighing":
        """Some of the signals, weighed as before."""

        def some(values: Sequence[float]) -> tuple[float, ...]:
            return tuple(values[column] for column in columns)

        parts = some(self.means), some(self.scales), some(self.weights)
        return Weighing(*parts, self.bias, self.ridge)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Weighing":
        """The inverse of `dataclasses.asdict`, through JSON."""
        means, scales, weights = (tuple(value[name]) for name in ("means", "scales", "weights"))
        return cls(means, scales, weights, value["bias"], value["ridge"])


def _loss(
    fitted: Weighing,
    table: Float[np.ndarray, "N S"],
    truth: Bool[np.ndarray, " N"],
    rows: Bool[np.ndarray, " N"],
) -> float:
    chances = np.clip(fitted(table[rows]), SURE, 1 - SURE)
    return float(-np.sum(np.log(np.where(truth[rows], chances, 1 - chances))))
