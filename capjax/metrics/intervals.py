"""Averages of scores over phrases, with intervals from a bootstrap over whole images.

Phrases of one image are not independent: whoever points well at a man points well at his hat. So
whole images are drawn, with replacement, and their phrases come along.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

RESAMPLES = 1000
LEVEL = 0.95
BLOCK = 4_000_000


def bootstrap_intervals(
    scores: Float[np.ndarray, "S N"],
    images: Sequence[Hashable],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Float[np.ndarray, "S 2"]:
    """Percentile intervals of the mean over all N items of each of S scores.

    Args:
      scores: of the items; all S share the same resamples.
      images: the image each item belongs to; whole images are drawn.
      resamples: how many times.
      level: share of the resampled means between the two ends.
      seed: equal seeds give equal intervals.

    Raises:
      ValueError: no item, or not one image an item.
    """
    scores = np.asarray(scores, np.float64)
    if not scores.shape[1] or len(images) != scores.shape[1]:
        raise ValueError(
            f"got {scores.shape[1]} items of {len(images)} images; expected one image an item, "
            "and at least one item"
        )
    numbers = {image: number for number, image in enumerate(dict.fromkeys(images))}
    owner = np.array([numbers[image] for image in images])
    counts = np.bincount(owner).astype(np.float64)
    totals = np.stack([np.bincount(owner, weights=row) for row in scores])
    generator = np.random.default_rng(seed)
    means = []
    for start in range(0, resamples, block := max(1, BLOCK // len(counts))):
        draws = min(block, resamples - start)
        picked = generator.integers(len(counts), size=(draws, len(counts)))
        means.append(totals[:, picked].sum(axis=2) / counts[picked].sum(axis=1))
    tail = 50 * (1 - level)
    return np.percentile(np.concatenate(means, axis=1), [tail, 100 - tail], axis=1).T


def summarise(
    scores: Mapping[str, Sequence[float]],
    images: Sequence[Hashable],
    categories: Sequence[Sequence[str]],
    *,
    order: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Micro and macro averages of scores, in all and by category, as plain JSON values.

    Args:
      scores: name -> one number an item.
      images: what each item belongs to.
      categories: of each item; an item of several counts in each of them, and once in the average.
      order: of the categories; default by name.
      resamples, seed: of the intervals.

    Returns:
      Each score's micro average (mean over items) under its name; `n` items, of `images`;
      `interval`: name -> [low, high], 95 %; `macro`: name -> mean over the categories' averages;
      `categories`: name -> the same without `macro` and `categories`.
    """
    table = np.array([list(own) for own in scores.values()], np.float64).reshape(len(scores), -1)

    def part(chosen: np.ndarray) -> dict[str, Any]:
        own = [images[index] for index in chosen]
        values = table[:, chosen]
        intervals = bootstrap_intervals(values, own, resamples=resamples, seed=seed)
        return {
            **{name: float(row.mean()) for name, row in zip(scores, values, strict=True)},
            "n": len(chosen),
            "images": len(set(own)),
            "interval": {n: list(map(float, i)) for n, i in zip(scores, intervals, strict=True)},
        }

    members: dict[str, list[int]] = {name: [] for name in order or ()}
    for index, names in enumerate(categories):
        for name in dict.fromkeys(names):
            members.setdefault(name, []).append(index)
    names = list(members) if order else sorted(members)
    parts = {name: part(np.array(members[name])) for name in names if members[name]}
    macro = {
        name: float(np.mean([own[name] for own in parts.values()])) for name in scores if parts
    }
    return {**part(np.arange(table.shape[1])), "macro": macro, "categories": parts}
