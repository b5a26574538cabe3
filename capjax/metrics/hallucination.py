"""How often captions name what is not there, and how right probabilities of it are.

CHAIR: Rohrbach et al., *Object Hallucination in Image Captioning*, EMNLP 2018. An object word is
hallucinated if neither the boxes of its image nor the captions by people have its class.
"""

import numpy as np
from jaxtyping import Float, Int

from capjax.metrics.logistic import fit_logistic

BINS = 10
RIDGE = 1e-6
"""Of the recalibration: none to speak of, it only keeps divided items finite."""
LEAST = 1e-6
"""The smallest probability that is taken a logarithm of."""


def chair(
    words: Float[np.ndarray, " N"],
    hallucinated: Float[np.ndarray, " N"],
    weights: Float[np.ndarray, "R N"] | None = None,
) -> tuple[Float[np.ndarray, " R"], Float[np.ndarray, " R"]]:
    """CHAIR-i, the share of object words, and CHAIR-s, the share of captions with such a word.

    CHAIR-i is NaN where a weighting has no object word.

    Args:
      words: object words of each caption, one caption an image.
      hallucinated: how many of them are.
      weights: of the captions, one row a result; default: one result, all captions alike.
    """
    weights = np.ones((1, len(words))) if weights is None else weights
    wrong, said = weights @ hallucinated, weights @ words
    each = np.divide(wrong, said, out=np.full(len(said), np.nan), where=said > 0)
    return each, weights @ (hallucinated > 0) / weights.sum(axis=1)


def bins_of(probabilities: Float[np.ndarray, " N"], bins: int = BINS) -> Int[np.ndarray, " N"]:
    """The bin of each item: as many items a bin as can be, equal probabilities in one."""
    edges = np.quantile(probabilities, np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(edges, probabilities, side="left")


def calibration_error(
    probabilities: Float[np.ndarray, " N"],
    truth: Float[np.ndarray, " N"],
    weights: Float[np.ndarray, "R N"] | None = None,
) -> Float[np.ndarray, " R"]:
    """Mean distance between what is predicted and what happens, over bins of equal counts.

    Each bin counts with its items. A bootstrap keeps the bins of all items.
    """
    weights = np.ones((1, len(truth))) if weights is None else weights
    owner = bins_of(probabilities)
    member = owner[:, None] == np.unique(owner)[None]
    gaps = np.abs((weights * (probabilities - truth)) @ member)
    return gaps.sum(axis=1) / weights.sum(axis=1)


def recalibration_slope(
    probabilities: Float[np.ndarray, " N"],
    truth: Float[np.ndarray, " N"],
    weights: Float[np.ndarray, "R N"] | None = None,
) -> Float[np.ndarray, " R"]:
    """The slope of a logistic regression of what happens on the predicted log odds.

    1: calibrated; below: the predictions are too sure of themselves (Cox 1958).
    """
    safe = np.clip(probabilities, LEAST, 1 - LEAST)
    odds = np.log(safe / (1 - safe))[:, None]
    return fit_logistic(odds, truth, ridge=RIDGE, weights=weights)[:, 0]


def calibration_curve(
    probabilities: Float[np.ndarray, " N"], truth: Float[np.ndarray, " N"]
) -> list[dict[str, float]]:
    """Of each bin, `predicted` and `observed` means and its `n` items."""
    owner = bins_of(probabilities)
    return [
        {
            "predicted": float(probabilities[owner == number].mean()),
            "observed": float(truth[owner == number].mean()),
            "n": int((owner == number).sum()),
        }
        for number in np.unique(owner)
    ]
