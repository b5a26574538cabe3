"""What all counterfactuals come to: what they tell apart, and whether fills agree."""

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from capjax.metrics.intervals import drawn_weights, format_measured, measured, spearman
from capjax.metrics.logistic import auc
from capjax.studies.contract import Cell, Curve, Finding, Summary, Table
from capjax.studies.counterfactual.telling import (
    ATTENTION,
    CHANCE,
    MAPS,
    OBJECTS,
    PLACES,
    WITHOUT,
)

TOLD_APART = "mentioned objects against others, AUC"
AGREEMENT = "do fills agree"
KNOWING = "maps that lie on what matters, Spearman"
UNIFORM = "uniform map (area)"
BIAS = "what goes with importance, Spearman"
ROBUSTNESS = "mean distance of captions against the area removed"
AREAS = (0.0, 0.001, 0.004, 0.016, 0.0625, 0.25, 1.0)
"""Ends of the areas that the curve of robustness averages over, each of its range below."""
LEAST_RANKED = 3
"""Fewer objects of a photograph have no order to compare."""


@dataclasses.dataclass(frozen=True, eq=False)
class Objects:
    """All objects of all photographs, one a row.

    Attributes:
      photographs: of each object.
      places: where it lies, its class and outline, and whether it is named.
      importance: fill -> measure -> [N]; NaN where a measure says nothing.
      maps: method -> [N] share of its maps on the object; empty where none was asked for.
      classes: what else is known of classes -> class -> number; 0 of classes that are not there.
    """

    photographs: tuple[str, ...]
    places: Mapping[str, Sequence[Cell]]
    importance: Mapping[str, Mapping[str, Float[np.ndarray, " N"]]]
    maps: Mapping[str, Float[np.ndarray, " N"]] = dataclasses.field(default_factory=dict)
    classes: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> "Objects":
        """From the tables of findings; those without objects are passed over."""
        photographs = list[str]()
        places: dict[str, list[Cell]] = {}
        importance: dict[str, dict[str, list[float]]] = {}
        maps: dict[str, list[float]] = {}
        for finding in findings:
            if OBJECTS not in finding.tables:
                continue
            table = finding.tables[OBJECTS]
            start = len(photographs)
            if lying := finding.tables.get(MAPS):
                for label, *own in zip(lying.columns, *lying.rows, strict=True):
                    if label != "object":
                        maps.setdefault(label, [math.nan] * start).extend(map(float, own))
            photographs += [finding.name] * len(table.rows)
            for column, values in zip(table.columns, zip(*table.rows, strict=True), strict=True):
                places.setdefault(column, []).extend(values)
            at = {row[0]: start + number for number, row in enumerate(table.rows)}
            for name in (WITHOUT, ATTENTION, CHANCE):
                _add(importance, finding.tables.get(name), at, len(photographs))
        count = len(photographs)
        whole = {
            fill: {
                name: np.array(own + [math.nan] * (count - len(own))) for name, own in rows.items()
            }
            for fill, rows in importance.items()
        }
        known = {name: np.array(own) for name, own in maps.items() if len(own) == count}
        return cls(tuple(photographs), places, whole, known)


def _add(
    importance: dict[str, dict[str, list[float]]],
    table: Table | None,
    at: Mapping[Cell, int],
    count: int,
) -> None:
    """Enters the numbers of a table under its fill, or (of backgrounds) that of the first one."""
    for row in table.rows if table else ():
        values = dict(zip(table.columns, row, strict=True)) if table else {}
        title = values.pop("without", values.pop("object", None))
        if title not in at:  # the photograph as it is
            continue
        fill = str(values.pop("fill", next(iter(importance), "")))
        for name, value in values.items():
            if isinstance(value, str) or name == "backgrounds" or name.endswith(", mean"):
                continue
            own = importance.setdefault(fill, {}).setdefault(name, [])
            own += [math.nan] * (count - len(own))
            own[at[title]] = math.nan if value is None else float(value)


def summarised(findings: Iterable[Finding]) -> Summary:
    """`summary_of` the objects of all findings."""
    return summary_of(Objects.of(findings))


def summary_of(objects: Objects) -> Summary:
    """Tables, numbers and the curve of robustness."""
    if not objects.photographs:
        return Summary()
    apart = told_apart(objects)
    tables = {
        TOLD_APART: _table(apart, ("fill", "outline", "measure"), ("AUC", "mentioned", "others")),
        AGREEMENT: _table(agreement(objects), ("fills",), tuple(_AGREEING)),
        KNOWING: _table(knowing(objects), ("method", "measure"), tuple(_KNOWING)),
        BIAS: _table(bias(objects), ("what", "measure"), ("Spearman", "objects")),
    }
    numbers = {
        "objects": float(len(objects.photographs)),
        "photographs": float(len(set(objects.photographs))),
    }
    lines = {fill: line for fill in objects.importance if (line := robustness(objects, fill))}
    curves = {ROBUSTNESS: Curve("share removed, logarithm to base 10", "distance", lines)}
    return Summary(
        {title: table for title, table in tables.items() if table.rows},
        numbers,
        curves if lines else {},
    )


def told_apart(objects: Objects) -> dict[tuple[str, str, str], dict[str, Any]]:
    """(fill, outline, measure) -> AUC of mentioned against unmentioned objects, with interval.

    Boxes and drawn outlines apart, and all together. Whole photographs are drawn for the interval.
    """
    named = objects.places["named"]
    known = np.array([own is not None for own in named])
    truth = np.array([float(own or 0) for own in named])
    boxes = np.array([own == "box" for own in objects.places["outline"]])
    kinds = {"all": known, "boxes": known & boxes, "outlines": known & ~boxes}
    if not (boxes.any() and (~boxes).any()):
        kinds = {"all": known}
    found = {}
    for fill, measures in objects.importance.items():
        for kind, own in kinds.items():
            for measure, values in measures.items():
                kept = own & np.isfinite(values)
                counts = int(truth[kept].sum()), int((1 - truth[kept]).sum())
                if all(counts):
                    found[fill, kind, measure] = {
                        "AUC": _over_photographs(
                            functools.partial(auc, values[kept], truth[kept]), objects, kept
                        ),
                        "mentioned": counts[0],
                        "others": counts[1],
                    }
    return found


def _over_photographs(statistic: Any, objects: Objects, kept: np.ndarray) -> dict[str, Any]:
    images = [objects.photographs[at] for at in np.flatnonzero(kept)]
    return measured(statistic, drawn_weights(images))


_AGREEING = (
    "objects",
    "Spearman of distances",
    "Spearman of bits",
    "Spearman of bits within a photograph",
    "same sign of bits",
)


def agreement(objects: Objects) -> dict[tuple[str], dict[str, Any]]:
    """(one and other,) -> how far two fills rank objects alike, for every pair of fills."""
    names = list(objects.importance)
    found = {}
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            own = [objects.importance[name] for name in (one, other)]
            distance = next(name for name in own[0] if name.startswith("sentence distance"))
            bits = "bits of the caption"
            kept = np.isfinite(own[0][bits]) & np.isfinite(own[1][bits])
            both = {m: [values[m][kept] for values in own] for m in (distance, bits)}
            signs = [np.sign(values) for values in both[bits]]
            count = int(kept.sum())
            if count < LEAST_RANKED:
                continue
            found[(f"{one}, {other}",)] = {
                "objects": count,
                "Spearman of distances": rank_interval(both[distance], objects, kept),
                "Spearman of bits": rank_interval(both[bits], objects, kept),
                "Spearman of bits within a photograph": _within(both[bits], objects, kept),
                "same sign of bits": float(np.mean(signs[0] == signs[1])),
            }
    return found


def rank_interval(
    pair: Sequence[Float[np.ndarray, " N"]], objects: Objects, kept: np.ndarray
) -> dict[str, Any]:
    """Spearman of two numbers an object, with its interval over photographs."""
    return _over_photographs(spearman(*pair), objects, kept)


def _within(
    pair: Sequence[Float[np.ndarray, " N"]], objects: Objects, kept: np.ndarray
) -> float | None:
    """The mean over photographs with enough objects."""
    photographs = np.array(objects.photographs)[kept]
    found = []
    for photograph in dict.fromkeys(photographs):
        own = photographs == photograph
        if own.sum() >= LEAST_RANKED:
            value = spearman(pair[0][own], pair[1][own])(np.ones((1, int(own.sum()))))[0]
            found += [value] if np.isfinite(value) else []
    return float(np.mean(found)) if found else None


def likenesses(objects: Objects) -> dict[str, Float[np.ndarray, " N"]]:
    """What objects are like: where they lie, in how many of these photographs their class occurs,
    and how often captions name it there; NaN of a class that nobody knows."""
    places = {name: np.array(objects.places[name], float) for name in PLACES}
    classes = objects.places["class"]
    shown: dict[Cell, set[str]] = {}
    said: dict[Cell, set[str]] = {}
    named = objects.places["named"]
    for own, photograph, is_named in zip(classes, objects.photographs, named, strict=True):
        shown.setdefault(own, set()).add(photograph)
        said.setdefault(own, set()).update([photograph] if is_named else [])
    by_class: dict[str, Mapping[Any, float]] = {
        "photographs with its class": {own: float(len(found)) for own, found in shown.items()},
        "how often captions name its class": {
            own: len(said[own]) / len(found) for own, found in shown.items()
        },
        **objects.classes,
    }
    for what, known in by_class.items():
        values = [math.nan if own is None else float(known.get(own, 0.0)) for own in classes]
        places[what] = np.array(values)
    return places


def bias(objects: Objects) -> dict[tuple[str, str], dict[str, Any]]:
    """(what, measure) -> Spearman of importance by the first fill with what objects are like."""
    first = next(iter(objects.importance.values()))
    found = {}
    for what, values in likenesses(objects).items():
        for measure in _headline(first):
            kept = np.isfinite(first[measure]) & np.isfinite(values)
            if kept.sum() >= LEAST_RANKED:
                pair = values[kept], first[measure][kept]
                found[what, measure] = {
                    "Spearman": rank_interval(pair, objects, kept),
                    "objects": int(kept.sum()),
                }
    return found


_KNOWING = ("Spearman", "within a photograph", "objects")


def knowing(objects: Objects) -> dict[tuple[str, str], dict[str, Any]]:
    """(method, measure) -> Spearman of a map's share on an object with the object's importance, by
    the first fill; beside it that of a map that is the same everywhere."""
    if not objects.maps:
        return {}
    first = next(iter(objects.importance.values()))
    areas = np.array(objects.places[PLACES[0]], float)
    found = {}
    for method, values in {**objects.maps, UNIFORM: areas}.items():
        for measure in _headline(first):
            kept = np.isfinite(values) & np.isfinite(first[measure])
            if kept.sum() >= LEAST_RANKED:
                pair = values[kept], first[measure][kept]
                found[method, measure] = {
                    "Spearman": rank_interval(pair, objects, kept),
                    "within a photograph": _within(pair, objects, kept),
                    "objects": int(kept.sum()),
                }
    return found


def _headline(measures: Mapping[str, Any]) -> list[str]:
    """The two measures that every object has: distance of captions, and bits."""
    starts = ("sentence distance", "bits of the caption")
    return [name for name in measures if name.startswith(starts) and "," not in name]


def robustness(objects: Objects, fill: str) -> tuple[tuple[float, float], ...]:
    """(logarithm of the area, mean distance of captions) for each range of areas with objects."""
    measures = objects.importance[fill]
    distance = next((name for name in measures if name.startswith("sentence distance")), None)
    if distance is None:
        return ()
    areas = np.array(objects.places[PLACES[0]], float)
    values = measures[distance]
    points = []
    for low, high in zip(AREAS[:-1], AREAS[1:], strict=True):
        own = (areas > low) & (areas <= high) & np.isfinite(values)
        if own.any():
            points.append((float(np.log10(areas[own].mean())), float(values[own].mean())))
    return tuple(points)


def _table(
    found: Mapping[Any, Mapping[str, Any]], keys: Sequence[str], names: Sequence[str]
) -> Table:
    def cell(value: Any) -> Cell:
        told: Cell = format_measured(value) if isinstance(value, Mapping) else value
        return told

    rows = tuple((*key, *(cell(own[name]) for name in names)) for key, own in found.items())
    return Table((*keys, *names), rows)
