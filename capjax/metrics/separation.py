"""How well a number tells true items from false ones."""

import numpy as np
from jaxtyping import Float


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
