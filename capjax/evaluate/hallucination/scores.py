"""CHAIR, and how well each signal and their combination tell which words are hallucinated."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from capjax.evaluate.hallucination.measuring import FOLDS, Judged, digest
from capjax.metrics.hallucination import (
    calibration_curve,
    calibration_error,
    chair,
    recalibration_slope,
)
from capjax.metrics.intervals import drawn_weights, format_measured, measured
from capjax.metrics.logistic import auc
from capjax.studies.doubt.doubter import Kept, Prior, available, cross_fitted
from capjax.studies.doubt.object_names import is_person
from capjax.studies.doubt.signals import DOUBTFUL, USUAL

COMBINATION, BASELINE = "combination", "log_probability + prior"
ALL, OTHERS = "all", "other than persons"


def score_judged(
    judged: Judged, kept: Kept | None, combined: Sequence[str] | None = None
) -> dict[str, Any]:
    """Scores as plain JSON values, for all object words and for those other than persons.

    Args:
      judged: captions and the truth about them.
      kept: what was fitted before; None, or where it was fitted on any of these photographs: all is
        cross-fitted here.
      combined: signals of the combination that is cross-fitted; default: those of `kept`, or the
        usual ones.

    Returns:
      `fitted`: where the combination comes from; `left_out` photographs; and under "all" and "other
      than persons" `chair_i`, `chair_s`, the numbers of words, `signals`: name -> `auc` and
      `calibration_error`, also of the combination, with its `recalibration_slope`, and of the
      baseline; `gain`, the combination's AUC less the baseline's; `calibration_curve`. Every score
      is {"value", "interval"}.

    Raises:
      ValueError: too few hallucinated words, or too few others, to fit anything on.
    """
    folds = judged.folds
    given = judged.captions, judged.truth, folds
    signals = available(judged.captions)
    usual = [name for name in signals if name in USUAL]
    if combined is None:
        combined = usual if kept is None else kept.doubter.signals
    chances = {name: cross_fitted(*given, signals=(name,)) for name in signals}
    chances[BASELINE] = cross_fitted(*given, signals=("log_probability", "prior"))
    seen = set() if kept is None else set(kept.fitted_on["photographs"])
    if kept is None or seen & {digest(key) for key in judged.keys}:
        fitted = f"cross-fitted over {FOLDS} folds of these photographs"
        chances[COMBINATION] = cross_fitted(*given, signals=combined, choose=True)
    else:
        fitted = f"doubt.json, of {len(seen)} other photographs"
        chances[COMBINATION] = [kept.doubter(own) for own in judged.captions]
    prior = Prior.of(judged.captions)
    doubts = {
        name: np.concatenate(
            [
                DOUBTFUL[name]
                * (prior.signal(own.names, counted=True) if name == "prior" else own.signals[name])
                for own in judged.captions
            ]
        )
        for name in signals
    }
    joined = {name: np.concatenate(own) for name, own in chances.items()}
    doubts |= {name: joined[name] for name in (BASELINE, COMBINATION)}
    person = [np.array([is_person(name) for name in own.names], bool) for own in judged.captions]
    found: dict[str, Any] = {"fitted": fitted, "left_out": judged.left_out}
    for part, wanted in ((ALL, None), (OTHERS, person)):
        keep = [np.ones(len(own), bool) for own in person]
        if wanted is not None:
            keep = [~own for own in wanted]
        found[part] = _part(judged, doubts, joined, keep)
    return found


def _part(
    judged: Judged,
    doubts: Mapping[str, Float[np.ndarray, " N"]],
    chances: Mapping[str, Float[np.ndarray, " N"]],
    keep: Sequence[np.ndarray],
) -> dict[str, Any]:
    chosen = np.concatenate(keep)
    truth = np.concatenate(judged.truth)[chosen].astype(np.float64)
    images = [key for key, own in zip(judged.keys, keep, strict=True) for _ in range(own.sum())]
    words = np.array([own.sum() for own in keep], np.float64)
    wrong = np.array([t[k].sum() for t, k in zip(judged.truth, keep, strict=True)], np.float64)
    per_image = drawn_weights(judged.keys)
    found: dict[str, Any] = {
        "photographs": len(judged.keys),
        "words": len(truth),
        "hallucinated": int(truth.sum()),
        "chair_i": measured(lambda own: chair(words, wrong, own)[0], per_image),
        "chair_s": measured(lambda own: chair(words, wrong, own)[1], per_image),
    }
    if not 0 < truth.sum() < len(truth):
        return found | {"signals": {}, "calibration_curve": []}
    weights = drawn_weights(images)
    signals: dict[str, Any] = {}
    for name, values in doubts.items():
        own, chance = values[chosen], chances[name][chosen]
        signals[name] = {
            "auc": measured(functools.partial(auc, own, truth), weights),
            "calibration_error": measured(
                functools.partial(calibration_error, chance, truth), weights
            ),
        }
    best, plain = chances[COMBINATION][chosen], chances[BASELINE][chosen]
    signals[COMBINATION]["recalibration_slope"] = measured(
        functools.partial(recalibration_slope, best, truth), weights
    )
    gain = measured(lambda own: auc(best, truth, own) - auc(plain, truth, own), weights)
    curve = calibration_curve(best, truth)
    return found | {"signals": signals, "gain": gain, "calibration_curve": curve}


def format_hallucination(scores: Mapping[str, Any]) -> str:
    """The scores as a text table."""
    lines = [f"hallucination ({scores['fitted']}; 95 % intervals over photographs)"]
    if scores["left_out"]:
        lines.append(f"{scores['left_out']} photographs without boxes are left out")
    for part in (ALL, OTHERS):
        own = scores[part]
        chair_i, chair_s = (format_measured(own[name]) for name in ("chair_i", "chair_s"))
        lines += [
            "",
            f"{part}: {own['words']} object words in {own['photographs']} photographs, "
            f"{own['hallucinated']} hallucinated",
            f"  CHAIR-i {chair_i}   CHAIR-s {chair_s}",
        ]
        if not own["signals"]:
            lines.append("  words of one kind only: nothing to tell apart")
            continue
        lines.append(f"  {'signal':<24}{'AUC':<22}calibration error")
        for name, values in own["signals"].items():
            told, error = (format_measured(values[of]) for of in ("auc", "calibration_error"))
            lines.append(f"  {name:<24}{told:<22}{error}")
        slope = own["signals"][COMBINATION]["recalibration_slope"]
        lines.append(f"  {COMBINATION} less {BASELINE}: {format_measured(own['gain'])}")
        lines.append(f"  recalibration slope {format_measured(slope)}")
    return "\n".join(lines)
