"""Do scores agree on which method is better, and do conclusions outlive the choice of a rule?"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from capjax.metrics.faithfulness_summary import COLUMNS, Column
from capjax.metrics.intervals import bootstrap_intervals

LEAST_METHODS = 3
"""Fewer have no order that could agree."""

TITLES = {column.name: column.title for column in COLUMNS}

RULES = (
    ("pointing_game", "by cell centres", "pointing_pixels", "by pixels", "centre"),
    ("attention_correctness", "by its own rule", "correctness_span", "by one rule", "uniform"),
)
"""Score by one rule, score by the other, and the baseline of both."""

NAMES = {"centre": "centre", "uniform": "uniform map"}
"""Of baselines, in sentences."""


def rank_agreement(
    scores: Mapping[str, Mapping[str, Any]], columns: Sequence[Column] = COLUMNS
) -> list[dict[str, Any]]:
    """How two scores order the methods, for every pair of them that say which is better.

    Args:
      scores: method -> its scores, baselines left out.
      columns: whose order is compared.

    Returns:
      One object a pair: `scores`, `methods` (how many have both), `spearman` and `kendall` (-1 to
      1, better methods first), and `first`, which method each of them puts first.
    """
    from scipy.stats import kendalltau, spearmanr  # take a second to import

    found = []
    judging = [column for column in columns if column.better is not None]
    for one, other in itertools.combinations(judging, 2):
        both = [name for name, own in scores.items() if one.name in own and other.name in own]
        if len(both) < LEAST_METHODS:
            continue
        values = [_goodness(scores, both, column) for column in (one, other)]
        if any(np.ptp(own) == 0 for own in values):
            continue
        found.append(
            {
                "scores": [one.name, other.name],
                "methods": len(both),
                "spearman": float(spearmanr(*values).statistic),
                "kendall": float(kendalltau(*values).statistic),
                "first": [both[int(np.argmax(own))] for own in values],
            }
        )
    return found


def _goodness(
    scores: Mapping[str, Mapping[str, Any]], names: Sequence[str], column: Column
) -> np.ndarray:
    sign = 1 if column.better == "high" else -1
    return sign * np.array([scores[name][column.name] for name in names])


def disagreements(pairs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for every pair of scores that order the methods in opposite ways."""
    told = []
    for pair in pairs:
        if pair["spearman"] < 0:
            one, other = (TITLES[name] for name in pair["scores"])
            first, second = pair["first"]
            best = f": the one puts {first} first, the other {second}" if first != second else ""
            told.append(
                f"{one} and {other} disagree on {pair['methods']} methods (Spearman "
                f"{pair['spearman']:+.2f}, Kendall {pair['kendall']:+.2f}){best}"
            )
    return told


def only_by_one_rule(records: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> list[str]:
    """A sentence for every conclusion about pointing that holds under one rule and not the other.

    A conclusion: a method is above, or below, the baseline with the 95 % interval of the paired
    difference over images; and which method is the best.

    Args:
      records: of every image, from `capjax.evaluate.faithfulness.measuring.measure_images`.
      labels: of the methods.
    """
    told = []
    for first, by_first, second, by_second, baseline in RULES:
        verdicts: dict[str, tuple[str, str]] = {}
        means: dict[str, list[float]] = {}
        for label in labels:
            phrases = [record["methods"][label]["phrases"] for record in records]
            images = [image for image, own in enumerate(phrases) for _ in own.get(baseline, ())]
            if not images:
                continue
            table = {
                name: np.array([value for own in phrases for value in own.get(name, ())])
                for name in (first, second, baseline)
            }
            over = np.stack([table[name] - table[baseline] for name in (first, second)])
            one, other = (_verdict(*ends) for ends in bootstrap_intervals(over, images))
            verdicts[label] = (one, other)
            means[label] = [float(table[name].mean()) for name in (first, second)]
        for label, (one, other) in verdicts.items():
            if one != other:
                told.append(
                    f"{label} is {one} the {NAMES[baseline]} {by_first}, and {other} it {by_second}"
                )
        if len(means) > 1:
            best = [max(means, key=lambda label: means[label][rule]) for rule in (0, 1)]  # noqa: B023
            if best[0] != best[1]:
                told.append(
                    f"{TITLES[first]}: the best method is {best[0]} {by_first} and {best[1]} "
                    f"{by_second}"
                )
    return told


def _verdict(low: float, high: float) -> str:
    return "above" if low > 0 else "below" if high < 0 else "within the noise of"
