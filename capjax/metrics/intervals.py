"""Averages of scores over phrases, with intervals from a bootstrap over whole images.

Phrases of one image are not independent: whoever points well at a man points well at his hat. So
whole images are drawn, with replacement, and their phrases come along.
"""

import dataclasses
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt16

RESAMPLES = 1000
LEVEL = 0.95
BLOCK = 4_000_000
"""Numbers that are held at once, about."""

Statistic = Callable[[Float[np.ndarray, "R N"]], Float[np.ndarray, " R"]]
"""Of items, for each of R weightings of them."""


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
    for start in range(0, resamples, block := _rows(len(counts))):
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


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """Resamples of whole images, drawn with replacement.

    Attributes:
      counts: how often each image comes in each resample.
      owner: number of the image that each item belongs to.
    """

    counts: UInt16[np.ndarray, "R I"]
    owner: Int[np.ndarray, " N"]

    def weights(self) -> Iterator[Float[np.ndarray, "r N"]]:
        """How often each item comes, of some resamples at a time."""
        rows = _rows(len(self.owner))
        for start in range(0, len(self.counts), rows):
            yield self.counts[start : start + rows, self.owner].astype(np.float64)


def drawn_weights(
    images: Sequence[Hashable], *, resamples: int = RESAMPLES, seed: int = 0
) -> Drawn:
    """Weightings of items by resamples of the images that they belong to."""
    numbers = {image: number for number, image in enumerate(dict.fromkeys(images))}
    owner = np.array([numbers[image] for image in images], int)
    count = len(numbers)
    generator = np.random.default_rng(seed)
    counts = np.empty((resamples, count), np.uint16)
    shares, rows = np.full(count, 1 / count), _rows(count)
    for start in range(0, resamples, rows):
        some = counts[start : start + rows]
        some[:] = generator.multinomial(count, shares, size=len(some))
    return Drawn(counts, owner)


def measured(statistic: Statistic, drawn: Drawn, *, level: float = LEVEL) -> dict[str, Any]:
    """`value` of all items, and the percentile `interval` over weightings; None where unknown."""
    value = float(statistic(np.ones((1, len(drawn.owner))))[0])
    found = np.concatenate([statistic(weights) for weights in drawn.weights()])
    found = found[np.isfinite(found)]
    tail = 50 * (1 - level)
    ends = np.percentile(found, [tail, 100 - tail]) if len(found) else (np.nan, np.nan)
    return {"value": _plain(value), "interval": [_plain(end) for end in ends]}


def spearman(one: Float[np.ndarray, " N"], other: Float[np.ndarray, " N"]) -> Statistic:
    """Spearman's rank correlation of two numbers an item, as a function of how often each comes.

    Equal values share their mean rank, copies of an item too: of whole weights it is that of the
    list in which each item stands so often. NaN where either number is constant.
    """

    def of(weights: Float[np.ndarray, "R N"]) -> Float[np.ndarray, " R"]:
        ranks = [_weighted_ranks(np.asarray(own), weights) for own in (one, other)]
        total = weights.sum(axis=1, keepdims=True)
        a, b = (rank - (weights * rank).sum(axis=1, keepdims=True) / total for rank in ranks)
        power = (weights * a**2).sum(axis=1) * (weights * b**2).sum(axis=1)
        found = (weights * a * b).sum(axis=1) / np.sqrt(np.where(power > 0, power, 1.0))
        return np.where(power > 0, found, np.nan)

    return of


def difference(one: Statistic, other: Statistic) -> Statistic:
    """One statistic less another one of the same items: paired, for both see the same weights."""
    return lambda weights: one(weights) - other(weights)


def _weighted_ranks(
    values: Float[np.ndarray, " N"], weights: Float[np.ndarray, "R N"]
) -> Float[np.ndarray, "R N"]:
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    mass = np.add.reduceat(weights[:, order], starts, axis=1)
    return (np.cumsum(mass, axis=1) - mass / 2)[:, group]


def format_measured(score: Mapping[str, Any], sign: str = "") -> str:
    """What `measured` gives, as text: value [low, high]; sign "+" shows that of differences."""
    values = (score["value"], *score["interval"])
    shown = ["–" if own is None else f"{own:{sign}.3f}" for own in values]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def _rows(width: int) -> int:
    """Rows of a block of so many columns."""
    return max(1, BLOCK // max(1, width))


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
