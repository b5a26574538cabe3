"""Scores of captions whose hallucinations were made: CHAIR by counting, chances that mean it."""

import numpy as np
import pytest

from capjax.evaluate.hallucination.measuring import FOLDS, Judged
from capjax.evaluate.hallucination.scores import (
    ALL,
    BASELINE,
    COMBINATION,
    OTHERS,
    format_hallucination,
    score_judged,
)
from capjax.studies.doubt.object_names import ObjectName
from capjax.studies.doubt.signals import Doubtable
from capjax.types import Caption

NAMES = (ObjectName(0, 1, ("person",)), ObjectName(2, 3, ("dog",)))
CAPTION = Caption("man and dog", ("man", "and", "dog"), (), np.zeros(0), 0.0, True)


@pytest.fixture(scope="module")
def judged():
    """120 captions of a man and a dog; bits tell which are there, the probability does not."""
    draw = np.random.default_rng(0)
    captions, truth = [], []
    for _ in range(120):
        bits = draw.normal(size=2)
        signals = {"log_probability": draw.normal(size=2), "bits": bits}
        captions.append(Doubtable(CAPTION, NAMES, signals))
        truth.append(draw.random(2) < 1 / (1 + np.exp(2 * bits + 1)))
    keys = tuple(f"{number}.jpg" for number in range(120))
    return Judged(keys, tuple(captions), tuple(truth), 3)


def test_folds_are_even_and_of_the_photographs_alone(judged):
    assert np.bincount(judged.folds).tolist() == [120 // FOLDS] * FOLDS
    turned = Judged(judged.keys[::-1], judged.captions, judged.truth, 0)
    assert turned.folds == judged.folds[::-1]


def test_scores_count_words_and_photographs(judged):
    found = score_judged(judged, None)
    wrong = np.array(judged.truth)
    assert found["fitted"].startswith("cross-fitted") and found["left_out"] == 3
    assert found[ALL]["words"] == 240 and found[OTHERS]["words"] == 120
    assert found[ALL]["chair_i"]["value"] == pytest.approx(wrong.mean())
    assert found[ALL]["chair_s"]["value"] == pytest.approx(wrong.any(axis=1).mean())
    assert found[OTHERS]["chair_i"]["value"] == pytest.approx(wrong[:, 1].mean())
    for part in (ALL, OTHERS):
        own = found[part]
        signals = own["signals"]
        assert signals["bits"]["auc"]["value"] > 0.7
        assert abs(signals["log_probability"]["auc"]["value"] - 0.5) < 0.15
        low, high = signals[COMBINATION]["recalibration_slope"]["interval"]
        assert low < 1 < high
        gain = signals[COMBINATION]["auc"]["value"] - signals[BASELINE]["auc"]["value"]
        assert own["gain"]["value"] == pytest.approx(gain) and own["gain"]["interval"][0] > 0
        assert sum(one["n"] for one in own["calibration_curve"]) == own["words"]
    text = format_hallucination(found)
    assert "3 photographs without boxes are left out" in text and "CHAIR-i" in text
