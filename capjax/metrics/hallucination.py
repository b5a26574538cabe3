"""How often captions name what is not there, and how right probabilities of it are.

CHAIR: Rohrbach et al., *Object Hallucination in Image Captioning*, EMNLP 2018. An object word is
hallucinated if neither the boxes of its image nor the captions by people have its class.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float, Int

from capjax.metrics.logistic import fit_logistic

BINS = 10
RIDGE = 1e-6
"""Of the recalibration: none to speak of, it only keeps divided items finite."""
LEAST = 1e-6
"""The smallest probability that is taken a logarithm of."""


def chair(
    hallucinated: Float[np.ndarray, " N"], images: Sequence[Hashable], captions: int
) -> tuple[float, float]:
    """CHAIR-i, the share of object words, and CHAIR-s, the share of captions with such a word.

    Args:
      hallucinated: 1 or 0 of each object word.
      images: the image of each; one caption an image.
      captions: how many there are, those without object words included.
    """
    wrong = {image for image, value in zip(images, hallucinated, strict=True) if value}
    each = float(np.mean(hallucinated)) if len(hallucinated) else 0.0
    return each, len(wrong) / max(captions, 1)


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
