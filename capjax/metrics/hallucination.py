"""How often captions name what is not there, and how well a number tells which words do.

CHAIR: Rohrbach et al., *Object Hallucination in Image Captioning*, EMNLP 2018. An object word is
hallucinated if neither the boxes of its image nor the captions by people have its class.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from capjax.metrics.intervals import LEVEL, RESAMPLES
from capjax.metrics.logistic import fit_logistic

BINS = 10
RIDGE = 1e-6
"""Of the recalibration: none to speak of, it only keeps divided items finite."""
LEAST = 1e-6
"""The smallest probability that is taken a logarithm of."""

Statistic = Callable[[Float[np.ndarray, "R N"]], Float[np.ndarray, " R"]]
"""Of items, for each of R weightings of them."""


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


def drawn_weights(
    images: Sequence[Hashable], *, resamples: int = RESAMPLES, seed: int = 0
) -> Float[np.ndarray, "R N"]:
    """How often each item comes in each resample of whole images, drawn with replacement."""
    numbers = {image: number for number, image in enumerate(dict.fromkeys(images))}
    owner = np.array([numbers[image] for image in images], int)
    count = len(numbers)
    generator = np.random.default_rng(seed)
    picked = generator.multinomial(count, np.full(count, 1 / count), size=resamples)
    return picked[:, owner].astype(np.float64)


def measured(
    statistic: Statistic, weights: Float[np.ndarray, "R N"], *, level: float = LEVEL
) -> dict[str, Any]:
    """`value` of all items, and the percentile `interval` over weightings; None where unknown."""
    value = float(statistic(np.ones((1, weights.shape[1])))[0])
    drawn = statistic(weights)
    drawn = drawn[np.isfinite(drawn)]
    tail = 50 * (1 - level)
    ends = np.percentile(drawn, [tail, 100 - tail]) if len(drawn) else (np.nan, np.nan)
    return {"value": _plain(value), "interval": [_plain(end) for end in ends]}


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
