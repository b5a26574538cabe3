"""What reranking by doubt costs: CHAIR against CIDEr and BLEU-4 over its weight."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from capjax.captioner import Captioner
from capjax.data.boxes.grounded import BoxSource
from capjax.data.captions.records import Record
from capjax.decoding import Decoding
from capjax.evaluate.grounding import Fit
from capjax.evaluate.hallucination.measuring import FOLDS, Judged, boxed_batches, digest, with_boxes
from capjax.metrics.captions import bleu_counts, bleu_of_counts, score_images
from capjax.metrics.hallucination import chair
from capjax.metrics.intervals import (
    Statistic,
    difference,
    drawn_weights,
    format_measured,
    measured,
)
from capjax.runtime.text_table import format_table
from capjax.studies.doubt.doubter import Doubter, Kept, fitted_without
from capjax.studies.doubt.object_names import is_hallucinated
from capjax.studies.doubt.reranking import best_candidate, candidates_memory, read_candidates
from capjax.studies.doubt.signals import SAMPLES, USUAL, Doubtable

WEIGHTS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Of a hallucinated object word against log-probability per token."""
SCORES = {"chair_i": "CHAIR-i", "chair_s": "CHAIR-s", "cider": "CIDEr", "bleu_4": "BLEU-4"}
ALLOWED = 0.01
"""Share of CIDEr that reranking may cost in the sentence below the table."""


@dataclasses.dataclass(frozen=True)
class Choices:
    """What a beam search could have said of photographs of which it is known what they show.

    Attributes:
      records: the photographs, each with references.
      candidates: of each, with the signals of their object words, in the order of the search.
      truth: of each candidate, which of its object words are hallucinated.
    """

    records: tuple[Record, ...]
    candidates: tuple[tuple[Doubtable, ...], ...]
    truth: tuple[tuple[Bool[np.ndarray, " N"], ...], ...]

    @property
    def first(self) -> Judged:
        """The search's own captions."""
        return Judged(
            tuple(record.key for record in self.records),
            tuple(own[0] for own in self.candidates),
            tuple(own[0] for own in self.truth),
            0,
        )


def read_choices(
    captioner: Captioner,
    records: Sequence[Record],
    source: BoxSource,
    *,
    decoding: Decoding,
    max_len: int,
    fit: Fit,
    usable: float,
    samples: int = SAMPLES,
    signals: Sequence[str] = USUAL,
) -> Choices:
    """Writes all candidates and reads their signals, with a progress bar.

    Args:
      captioner: the model.
      records: images; those without references or boxes are left out.
      source: boxes of the images.
      decoding, max_len: how candidates are written.
      fit: says how many images are done at once; changes nothing else.
      usable: bytes of memory, as of `signals_memory`.
      samples: captions sampled from each image.
      signals: to read, see `read_signals`.

    Raises:
      ValueError: no image has both.
    """
    known = with_boxes([record for record in records if record.captions], source)
    found: list[tuple[Doubtable, ...]] = []
    reading: dict[str, Any] = {
        "decoding": decoding,
        "max_len": max_len,
        "samples": samples,
        "signals": signals,
    }
    need = functools.partial(candidates_memory, captioner, usable=usable, **reading)
    for images, count in boxed_batches(captioner, known, fit, need):
        _, read = read_candidates(captioner, images, count, source.words, **reading)
        found += map(tuple, read)
    truth = []
    for record, own in zip(known, found, strict=True):
        there = source.classes(record)
        wrong = [[is_hallucinated(name, there) for name in one.names] for one in own]
        truth.append(tuple(np.array(values, bool) for values in wrong))
    return Choices(tuple(known), tuple(found), tuple(truth))


def doubter_of_each(choices: Choices, kept: Kept | None) -> tuple[str, list[Doubter]]:
    """Where doubts come from, in words, and what tells them of each photograph.

    Where there is no doubt.json, or it was fitted on any of these photographs, those of other folds
    are fitted on: their first candidates, as doubt.json is.
    """
    first = choices.first
    seen = set() if kept is None else set(kept.fitted_on["photographs"])
    if kept is not None and seen.isdisjoint(map(digest, first.keys)):
        return f"doubt.json, of {len(seen)} other photographs", [kept.doubter] * len(first.keys)
    fitted = fitted_without(first.captions, first.truth, first.folds, choose=True)
    return (
        f"cross-fitted over {FOLDS} folds of these photographs",
        [fitted[fold] for fold in first.folds],
    )


def score_curve(
    choices: Choices, kept: Kept | None, weights: Sequence[float] = WEIGHTS
) -> dict[str, Any]:
    """Scores of what reranking takes at each weight, as plain JSON values.

    Args:
      choices: candidates and the truth about them.
      kept: what was fitted before, if anything.
      weights: of reranking; 0 is looked at always.

    Returns:
      `fitted`, `photographs`, and `points`: of each weight `weight`, `changed` (share of captions
      that are not the search's first), `words` (object words), and `chair_i`, `chair_s`, `cider`
      and `bleu_4`, each {"value", "interval", "less": the difference from weight 0 as {"value",
      "interval"}}, paired: the same photographs are drawn for both.
    """
    fitted, doubters = doubter_of_each(choices, kept)
    chances = [
        [doubter(one) for one in own]
        for doubter, own in zip(doubters, choices.candidates, strict=True)
    ]
    drawn = drawn_weights(choices.first.keys)
    points: list[dict[str, Any]] = []
    before: Mapping[str, Statistic] = {}
    for weight in sorted({0.0, *weights}):
        taken = [
            best_candidate(own, doubts, weight)
            for own, doubts in zip(choices.candidates, chances, strict=True)
        ]
        statistics, words = _statistics(choices, taken)
        before = before or statistics
        scores = {
            name: {
                **measured(statistic, drawn),
                "less": measured(difference(statistic, before[name]), drawn),
            }
            for name, statistic in statistics.items()
        }
        changed = float(np.mean([place > 0 for place in taken]))
        points.append({"weight": weight, "changed": changed, "words": words, **scores})
    return {"fitted": fitted, "photographs": len(choices.records), "points": points}


def _statistics(choices: Choices, taken: Sequence[int]) -> tuple[dict[str, Statistic], int]:
    """The scores of these candidates as functions of how often each photograph counts, and how
    many object words they have."""
    truth = [own[place] for own, place in zip(choices.truth, taken, strict=True)]
    words = np.array([len(own) for own in truth], np.float64)
    wrong = np.array([own.sum() for own in truth], np.float64)
    captions = [
        own[place].caption.text for own, place in zip(choices.candidates, taken, strict=True)
    ]
    references = [record.captions for record in choices.records]
    scored = score_images(
        dict(enumerate(references)), dict(enumerate(captions)), metrics=("CIDEr",)
    )
    cider = np.array([scored[number]["CIDEr"] for number in range(len(captions))], np.float64)
    counts = bleu_counts(references, captions)

    return {
        "chair_i": lambda own: chair(words, wrong, own)[0],
        "chair_s": lambda own: chair(words, wrong, own)[1],
        "cider": lambda own: own @ cider / own.sum(axis=1),
        "bleu_4": lambda own: bleu_of_counts(counts, own),
    }, int(words.sum())


def format_curve(scores: Mapping[str, Any]) -> str:
    """The curve as two text tables, scores and differences, and what it says."""
    points = scores["points"]

    def table(shown: Callable[[Mapping[str, Any]], Mapping[str, Any]], sign: str) -> str:
        rows = [["weight", "changed", "words", *SCORES.values()]]
        for point in points:
            values = [format_measured(shown(point[name]), sign) for name in SCORES]
            rows.append(
                [f"{point['weight']:g}", f"{point['changed']:.0%}", f"{point['words']}", *values]
            )
        return format_table(rows, left=0)

    return "\n".join(
        [
            f"reranking by doubt ({scores['fitted']}; {scores['photographs']} photographs; "
            "95 % intervals over photographs)",
            table(lambda score: score, ""),
            "differences from the search's own order, paired",
            table(lambda score: score["less"], "+"),
            said_of_curve(points),
        ]
    )


def said_of_curve(points: Sequence[Mapping[str, Any]]) -> str:
    """A sentence on how far CHAIR-i falls while CIDEr hardly does, with paired intervals.

    The best of several weights on these very photographs is flattered by them, as it says then.
    """
    first = points[0]
    if not first["chair_i"]["value"]:
        return "the search's own captions hallucinate nothing that reranking could lower"
    least = (1 - ALLOWED) * first["cider"]["value"]
    cheap = [own for own in points if own["cider"]["value"] >= least]
    best = min(cheap, key=lambda own: own["chair_i"]["value"])
    limit = f"while CIDEr falls by no more than {ALLOWED:.0%}"
    fall = 1 - best["chair_i"]["value"] / first["chair_i"]["value"]
    if best is first or fall <= 0:
        return f"no weight lowers CHAIR-i {limit}"
    lower, dearer = (format_measured(best[name]["less"], "+") for name in ("chair_i", "cider"))
    weight = f"{best['weight']:g}"
    chosen = (
        ". This weight was chosen on these photographs: on others expect less, and score those "
        f"with it alone (--rerank-curve={weight})"
    )
    return (
        f"CHAIR-i falls by {fall:.0%} of itself at weight {weight}, {limit}: CHAIR-i {lower}, "
        f"CIDEr {dearer}{chosen if len(points) > 2 else ''}"
    )


def curve_rows(points: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """The curve as the rows of a CSV file, names first."""
    names = [
        f"{name}{part}" for name in SCORES for part in ("", "_low", "_high")
    ] + [f"{name}_less{part}" for name in SCORES for part in ("", "_low", "_high")]  # fmt: skip
    rows: list[list[Any]] = [["weight", "changed", "words", *names]]
    for point in points:
        scores = [point[name] for name in SCORES] + [point[name]["less"] for name in SCORES]
        values = [value for own in scores for value in (own["value"], *own["interval"])]
        rows.append([point["weight"], point["changed"], point["words"], *values])
    return rows
