"""How well numbers tell attacked pictures from the same pictures as they were taken."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from capjax.metrics.intervals import drawn_weights, measured
from capjax.metrics.logistic import auc, cross_fitted
from capjax.studies.contract import Table

FOLDS = 5
RIDGE = 1.0
COMBINATION = "all together"

Separations = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Attack -> number -> its AUC, {"value", "interval"}."""


def separations(
    clean: Sequence[Mapping[str, float]],
    attacked: Sequence[Mapping[str, float]],
    counted: Bool[np.ndarray, " P"],
) -> dict[str, dict[str, Any]]:
    """AUC of each number, and of a logistic regression on all of them.

    The regression is cross-fitted over pictures: a picture and what an attack made of it are in
    one fold. Intervals are 95 %, over pictures drawn with replacement.

    Args:
      clean, attacked: of each picture, by name; the larger, the more it looks attacked.
      counted: which attacked pictures count; all clean ones do.

    Returns:
      name -> {"value", "interval"}; None where there is nothing to tell apart.
    """
    names = list(clean[0])
    pictures = np.r_[np.arange(len(clean)), np.flatnonzero(counted)]
    truth = np.r_[np.zeros(len(clean)), np.ones(int(counted.sum()))]
    rows = [*clean, *(own for own, kept in zip(attacked, counted, strict=True) if kept)]
    table = np.array([[row[name] for name in names] for row in rows])
    weights = drawn_weights(pictures.tolist())
    columns = dict(zip(names, table.T, strict=True))
    columns[COMBINATION] = cross_fitted(table, truth, pictures % FOLDS, ridge=RIDGE)
    return {
        name: measured(functools.partial(auc, values, truth), weights)
        if np.isfinite(values).all()
        else {"value": None, "interval": [None, None]}
        for name, values in columns.items()
    }


def separation_table(found: Separations, counted: Mapping[str, int]) -> Table:
    """One row an attack and number."""
    rows = tuple(
        (attack, name, own["value"], *own["interval"], counted[attack])
        for attack, numbers in found.items()
        for name, own in numbers.items()
    )
    return Table(("attack", "number", "AUC", "from", "to", "attacked pictures"), rows)
