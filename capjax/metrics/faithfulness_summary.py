"""Scores of every method from what was measured of every image, with intervals over images."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from capjax.metrics.faithfulness import auc
from capjax.metrics.intervals import bootstrap_intervals

INSENSITIVE = 0.5
"""A method is called insensitive whose maps keep at least this rank correlation, on average, once
all weights of the captioner are shuffled."""

LEAST_INTACT = 0.01
"""Words less probable than this are left out of curves divided by the intact probability."""


@dataclasses.dataclass(frozen=True)
class Column:
    """One score of a method.

    Attributes:
      name: of the score in `metrics.json`.
      title: for people.
      better: whether "high" or "low" speaks for the method; None for what only has to be far from
        1 (checks), and for what describes a map.
      shown: in tables for people; the files have all.
    """

    name: str
    title: str
    better: Literal["high", "low"] | None
    shown: bool = True


COLUMNS = (
    Column("pointing_game", "pointing game", "high"),
    Column("pointing_pixels", "pointing, pixels", "high"),
    Column("attention_correctness", "correctness", "high"),
    Column("correctness_span", "correctness, one rule", "high"),
    Column("deletion", "deletion", "low"),
    Column("insertion", "insertion", "high"),
    Column("road_morf", "ROAD MoRF", "low"),
    Column("road_lerf", "ROAD LeRF", "high"),
    Column("relative_infidelity", "infidelity, relative", "low"),
    Column("max_sensitivity", "max-sensitivity", "low"),
    Column("randomisation", "weights shuffled", None),
    Column("other_caption", "other caption", None),
    Column("infidelity", "infidelity", None, shown=False),
    Column("words_distance", "words' distance", None, shown=False),
    Column("gini", "sparsity", None, shown=False),
    Column("entropy", "entropy", None, shown=False),
)
"""All scores, in the order of the tables."""

BASELINES = ("centre", "random", "uniform")

_Values = dict[str, tuple[list[float], list[int]]]


def summarise_method(records: Sequence[Mapping[str, Any]], label: str) -> dict[str, Any]:
    """Scores of one method, as plain JSON values.

    Args:
      records: of every image, from `capjax.evaluate.faithfulness.measuring.measure_images`.
      label: of the method.

    Returns:
      Each score's mean over its items (words, phrases or sentences) under its name, and `interval`,
      `n` (items) and `images` by score; `baselines` of pointing; mean `curves`, raw and
      divided by the intact probability; `randomisation_levels`; `insensitive`, where it was
      checked; `images_per_second`, from the median of the images that were
      timed, where any was.
    """
    values = _values(records, label)
    found: dict[str, Any] = {"interval": {}, "n": {}, "images": {}, "baselines": {}}
    for name, (numbers, images) in values.items():
        if not numbers:
            continue
        mean = float(np.mean(numbers))
        (interval,) = bootstrap_intervals(np.array([numbers]), images)
        if name in BASELINES:
            found["baselines"][name] = mean
            continue
        found[name] = mean
        found["interval"][name] = [float(end) for end in interval]
        found["n"][name] = len(numbers)
        found["images"][name] = len(set(images))
    found["curves"], found["curves_of_intact"] = _mean_curves(records, label)
    found["randomisation_levels"] = _levels(records, label)
    if "randomisation" in found:
        found["insensitive"] = found["randomisation"] >= INSENSITIVE
    seconds = [record["seconds"][label] for record in records if record["seconds"]]
    if seconds:
        found["images_per_second"] = 1 / float(np.median(seconds))
    return found


def _values(records: Sequence[Mapping[str, Any]], label: str) -> _Values:
    """Score -> its numbers, and the image that each belongs to."""
    found: _Values = {}

    def add(name: str, numbers: Sequence[float | None], image: int) -> None:
        own = found.setdefault(name, ([], []))
        kept = [number for number in numbers if number is not None]
        own[0].extend(kept)
        own[1].extend([image] * len(kept))

    for image, record in enumerate(records):
        method = record["methods"][label]
        for name, numbers in method["phrases"].items():
            add(name, numbers, image)
        intact = np.array(record["intact"])
        for kind, curves in method["curves"].items():
            areas = _area(kind, np.array(curves))
            add(kind, areas.tolist(), image)
            spoken = intact >= LEAST_INTACT
            add(f"{kind}_of_intact", (areas[spoken] / intact[spoken]).tolist(), image)
        for name in ("relative_infidelity", "infidelity", "gini", "entropy", "words_distance"):
            add(name, method[name], image)
        checks = method["checks"]
        if checks:
            last = list(checks["cascading"])[-1]
            add("randomisation", checks["cascading"][last]["spearman"], image)
            for level in checks["captions"].values():
                add("other_caption", level["spearman"], image)
            add("max_sensitivity", checks["max_sensitivity"], image)
    return found


def _area(kind: str, curves: np.ndarray) -> np.ndarray:
    """Under deletion and insertion; of ROAD, whose fractions need not be equally far, the mean."""
    return curves.mean(axis=-1) if kind.startswith("road") else auc(curves)


def _mean_curves(records: Sequence[Mapping[str, Any]], label: str) -> tuple[Any, Any]:
    taken = [record for record in records if record["methods"][label]["curves"]]
    intact = np.array([number for record in taken for number in record["intact"]])
    spoken = intact >= LEAST_INTACT
    raw, divided = {}, {}
    for kind in taken[0]["methods"][label]["curves"] if taken else ():
        curves = [own for record in taken for own in record["methods"][label]["curves"][kind]]
        raw[kind] = np.mean(curves, axis=0).round(6).tolist()
        if spoken.any():
            share = np.array(curves)[spoken] / intact[spoken, None]
            divided[kind] = share.mean(axis=0).round(6).tolist()
    return raw, divided


def _levels(records: Sequence[Mapping[str, Any]], label: str) -> dict[str, Any]:
    """Kind of check -> level -> mean similarities."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for record in records:
        for kind, levels in record["methods"][label]["checks"].items():
            if kind == "max_sensitivity":
                continue
            for level, scores in levels.items():
                own = found.setdefault(kind, {}).setdefault(level, {})
                for name, numbers in scores.items():
                    own.setdefault(name, []).extend(numbers)
    return {
        kind: {
            level: {name: float(np.mean(numbers)) for name, numbers in scores.items()}
            for level, scores in levels.items()
        }
        for kind, levels in found.items()
    }
