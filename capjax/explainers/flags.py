"""What a reader must know before trusting maps: which are constant, spread out or all alike."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from capjax.explainers.scaling import both_signs, distribution

FLAT_DISTANCE = 0.05
"""Below this mean distance between the maps of two words a sentence counts as flat."""

FLAT_ENTROPY = 0.995
"""Above this mean share of the entropy of a uniform map a sentence counts as flat."""


def reading_flags(maps: Float[np.ndarray, "N F h w"]) -> dict[str, Any]:
    """Flags of the maps of one sentence, as plain JSON values.

    Returns:
      degenerate, degenerate_words: whether any map is constant, and the indices of those maps.
      entropy: per word, entropy of |map| / sum |map| as a share of log(F h w): 1 for a uniform
        map, 0 for one cell. Of maps that are never positive and somewhere negative, which are
        log-probabilities or minus a divergence, exp(map) is taken instead: how near zero a word is
        everywhere says nothing of where it comes from.
      mean_distance: mean total-variation distance (half the sum of absolute differences) between
        the maps of two words, each divided as for the entropy; 1 when no two overlap.
      flat: the maps hardly differ from word to word, or are all nearly uniform. Many attention
        models do this on words they do not ground, and a map drawn on its own scale hides it.
      minimum, maximum: of all raw values.
    """
    count = len(maps)
    flat = np.asarray(maps, np.float64).reshape(count, int(np.prod(maps.shape[1:])))
    if not count:
        return {
            "degenerate": False,
            "degenerate_words": [],
            "entropy": [],
            "mean_distance": 0.0,
            "flat": False,
            "minimum": 0.0,
            "maximum": 0.0,
        }
    constant = np.flatnonzero(np.ptp(flat, axis=1) == 0)
    share = _shares(flat)
    size = np.abs(share)
    terms = -size * np.log(np.where(size > 0, size, 1.0))
    entropy = terms.sum(axis=1) / max(np.log(flat.shape[1]), 1e-12)
    distance = _mean_distance(share)
    alike = count > 1 and distance < FLAT_DISTANCE
    return {
        "degenerate": bool(len(constant)),
        "degenerate_words": constant.tolist(),
        "entropy": [round(float(value), 4) for value in entropy],
        "mean_distance": round(distance, 4),
        "flat": bool(alike or entropy.mean() > FLAT_ENTROPY),
        "minimum": float(flat.min()),
        "maximum": float(flat.max()),
    }


def empty_words(flags: Mapping[str, Any]) -> list[bool]:
    """Whether the map of each word is constant, or nearly uniform by its own entropy.

    Args:
      flags: from `reading_flags`; of those that lack a part, what the rest says.
    """
    constant = set(flags.get("degenerate_words", ()))
    entropy = flags.get("entropy", ())
    return [at in constant or own > FLAT_ENTROPY for at, own in enumerate(entropy)]


def _shares(flat: Float[np.ndarray, "N P"]) -> Float[np.ndarray, "N P"]:
    """Each map with a sum of absolute values of one."""
    low, high = float(flat.min()), float(flat.max())
    if low < 0 and not both_signs(low, high):
        return distribution(flat)
    mass = np.abs(flat).sum(axis=1, keepdims=True)
    return flat / np.where(mass > 0, mass, 1.0)


def _mean_distance(shares: Float[np.ndarray, "N P"]) -> float:
    count = len(shares)
    if count < 2:
        return 0.0
    total = sum(
        0.5 * np.abs(shares[index + 1 :] - shares[index]).sum() for index in range(count - 1)
    )
    return float(total / (count * (count - 1) / 2))
