"""Telling true items from false ones, by many weightings of the items at once.

Logistic regression by Newton's method, and the area under the ROC curve of any number.
"""

import numpy as np
from jaxtyping import Float, Int

STEPS = 50
CLOSE = 1e-10
SAME = 1e-9
"""Share of an input's size within which all its values are one."""
LARGEST_STEP = 5.0
"""Of a coefficient in one step, which keeps items that a line divides from overflowing."""
HALVINGS = 30
"""Of a step that would make the loss larger: full ones may never settle where an input has a few
values far from all others."""


def fit_logistic(
    inputs: Float[np.ndarray, "N D"],
    truth: Float[np.ndarray, " N"],
    *,
    ridge: float,
    weights: Float[np.ndarray, "R N"] | None = None,
) -> Float[np.ndarray, "R D1"]:
    """Coefficients that minimise the weighted log loss plus ridge / 2 * |slopes|^2.

    Args:
      inputs: of each item; give them one scale.
      truth: 1 or 0.
      ridge: above 0, so that there is one minimum; the intercept is not shrunk.
      weights: of the items, one row a fit; default: one fit, all items alike.

    Returns:
      slopes, and the intercept last: D + 1 of each fit. NaN where a fit has one kind of item only.

    Raises:
      ValueError: a ridge that is not above 0, or inputs that are not finite.
    """
    if not ridge > 0:
        raise ValueError(f"ridge={ridge} is not above 0; 1.0 is usual for standardised inputs")
    if not np.isfinite(inputs).all():
        raise ValueError("an input is not finite; leave that item or that input out")
    weights = np.ones((1, len(inputs))) if weights is None else weights
    design = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1).astype(np.float64)
    shrunk = np.full(design.shape[1], ridge)
    shrunk[-1] = 0.0
    return np.stack([_fit(design, truth, shrunk, own) for own in weights])


def _fit(design: np.ndarray, truth: np.ndarray, shrunk: np.ndarray, own: np.ndarray) -> np.ndarray:
    share = own @ truth / max(own.sum(), 1e-300)
    found = np.zeros(design.shape[1])
    if not 0 < share < 1:
        return np.full(len(found), np.nan)
    found[-1] = np.log(share / (1 - share))
    loss = _loss(design, truth, shrunk, own, found)
    for _ in range(STEPS):
        probabilities = logistic(design @ found)
        slope = design.T @ (own * (probabilities - truth)) + shrunk * found
        bend = own * probabilities * (1 - probabilities)
        curvature = (design.T * bend) @ design + np.diag(shrunk + 1e-12)
        step = np.linalg.solve(curvature, slope)
        step *= min(1.0, LARGEST_STEP / max(np.abs(step).max(), CLOSE))
        for _ in range(HALVINGS):
            left = _loss(design, truth, shrunk, own, found - step)
            if left <= loss + CLOSE * abs(loss):  # or larger by rounding
                break
            step /= 2
        found, loss = found - step, left
        if np.abs(step).max() < CLOSE:
            break
    return found


def _loss(
    design: np.ndarray, truth: np.ndarray, shrunk: np.ndarray, own: np.ndarray, found: np.ndarray
) -> float:
    odds = design @ found
    surprise = np.logaddexp(0.0, odds) - truth * odds
    return float(own @ surprise + 0.5 * shrunk @ found**2)


def standardisation(
    inputs: Float[np.ndarray, "N D"],
) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, " D"]]:
    """Mean and deviation of each input; 1 in place of a deviation that is rounding alone."""
    means, scales = inputs.mean(axis=0), inputs.std(axis=0)
    return means, np.where(scales > SAME * np.maximum(1.0, np.abs(means)), scales, 1.0)


def cross_fitted(
    inputs: Float[np.ndarray, "N D"],
    truth: Float[np.ndarray, " N"],
    folds: Int[np.ndarray, " N"],
    *,
    ridge: float,
) -> Float[np.ndarray, " N"]:
    """The probability of each item by what was fitted on the other folds' items.

    Inputs are standardised by those items too. NaN where these are of one kind only.

    Args:
      inputs, truth, ridge: see `fit_logistic`.
      folds: of each item; those that belong together have one.
    """
    found = np.full(len(inputs), np.nan)
    for fold in np.unique(folds):
        own, rest = folds == fold, folds != fold
        if not rest.any():
            continue
        means, scales = standardisation(inputs[rest])
        *slopes, bias = fit_logistic((inputs[rest] - means) / scales, truth[rest], ridge=ridge)[0]
        found[own] = logistic((inputs[own] - means) / scales @ np.array(slopes) + bias)
    return found


def logistic(values: Float[np.ndarray, "*N"]) -> Float[np.ndarray, "*N"]:
    """1 / (1 + exp(-values)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(values, np.float64)))


def auc(
    scores: Float[np.ndarray, " N"],
    truth: Float[np.ndarray, " N"],
    weights: Float[np.ndarray, "R N"] | None = None,
) -> Float[np.ndarray, " R"]:
    """Probability that a true item's score is above a false one's, ties counted half.

    By ranks: O(N log N). NaN where a weighting has one kind of item only.
    """
    weights = np.ones((1, len(scores))) if weights is None else weights
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
    good = np.add.reduceat((weights * truth)[:, order], starts, axis=1)
    bad = np.add.reduceat((weights * (1 - truth))[:, order], starts, axis=1)
    below = np.cumsum(bad, axis=1) - bad
    pairs = good.sum(axis=1) * bad.sum(axis=1)
    wins = (good * (below + 0.5 * bad)).sum(axis=1)
    return np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
