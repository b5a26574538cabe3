"""How far attention moves when a picture changes: of the same word, and of a whole caption."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from capjax.studies.counterfactual.alignment import Aligned

DISTANCES = ("TV", "JS", "1 - cos")
"""Total variation, Jensen-Shannon (nats) and cosine distance; all are 0 of equal maps."""


def distances(
    one: Float[np.ndarray, "*N P"], other: Float[np.ndarray, "*N P"]
) -> dict[str, Float[np.ndarray, "*N"]]:
    """Name -> distance of two attention maps, each first brought to the sum 1.

    TV lies between 0 and 1, JS between 0 and ln 2, 1 - cos between 0 and 1.
    """
    p, q = _shares(one), _shares(other)
    middle = (p + q) / 2
    norms = np.sqrt(np.sum(p * p, axis=-1) * np.sum(q * q, axis=-1))
    cosine = np.sum(p * q, axis=-1) / np.where(norms > 0, norms, 1.0)
    same = np.all(p == q, axis=-1)
    return {
        "TV": np.abs(p - q).sum(axis=-1) / 2,
        "JS": (_divergence(p, middle) + _divergence(q, middle)) / 2,
        "1 - cos": np.where(same, 0.0, 1 - cosine),
    }


def _shares(maps: Float[np.ndarray, "*N P"]) -> Float[np.ndarray, "*N P"]:
    maps = np.asarray(maps, np.float64)
    total = maps.sum(axis=-1, keepdims=True)
    shares: np.ndarray = maps / np.where(total > 0, total, 1.0)
    return shares


def _divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    total: np.ndarray = np.sum(p * np.log(ratio), axis=-1)
    return total


def word_maps(
    steps: Float[np.ndarray, "T P"], spans: Sequence[tuple[int, int]]
) -> Float[np.ndarray, "N P"]:
    """One map a word: the mean over its tokens."""
    maps = [steps[start:end].mean(axis=0) for start, end in spans]
    return np.stack(maps) if maps else np.zeros((0, steps.shape[-1]))


def moved(
    before: Float[np.ndarray, "N P"], after: Float[np.ndarray, "M P"], words: Aligned
) -> Mapping[str, float | None]:
    """Distances of two captions' attention (Fosado et al., section 4.2).

    Args:
      before, after: one map a word.
      words: which words both captions say.

    Returns:
      "same words, TV" …: the mean over the words that both say, None where there are none;
      "all words, TV" …: of the sums over all words of each.
    """
    found: dict[str, float | None] = dict.fromkeys(f"same words, {name}" for name in DISTANCES)
    if words.pairs:
        rows = np.array(words.pairs)
        own = distances(before[rows[:, 0]], after[rows[:, 1]])
        found = {f"same words, {name}": float(value.mean()) for name, value in own.items()}
    if not len(before) or not len(after):
        return {**found, **dict.fromkeys(f"all words, {name}" for name in DISTANCES)}
    whole = distances(before.sum(axis=0), after.sum(axis=0))
    return {**found, **{f"all words, {name}": float(value) for name, value in whole.items()}}


def inside(maps: Float[np.ndarray, "N P"], cells: Float[np.ndarray, " P"]) -> float | None:
    """Share of a caption's attention within an object; None of a caption without words.

    Args:
      maps: one a word.
      cells: how much of each cell the object covers.
    """
    return float(_shares(maps.sum(axis=0)) @ cells) if len(maps) else None
