"""CHAIR by hand, AUC by all pairs, calibration of predictions that are right by construction."""

import numpy as np
import pytest

from capjax.metrics.hallucination import (
    auc,
    calibration_curve,
    calibration_error,
    chair,
    drawn_weights,
    measured,
    recalibration_slope,
)
from capjax.metrics.logistic import logistic


def test_chair_by_hand():
    """Two of four words, both in the first of four captions, two of which name nothing."""
    assert chair(np.array([1.0, 0, 1, 0]), ["a", "a", "a", "b"], 4) == (0.5, 0.25)
    assert chair(np.zeros(0), [], 3) == (0.0, 0.0)


def test_auc_is_that_of_all_pairs_with_ties_and_weights():
    draw = np.random.default_rng(0)
    scores, truth = np.round(draw.normal(size=80), 1), draw.integers(0, 2, 80).astype(float)
    good, bad = scores[truth == 1], scores[truth == 0]
    pairs = np.mean((good[:, None] > bad) + 0.5 * (good[:, None] == bad))
    assert auc(scores, truth)[0] == pytest.approx(pairs)
    weights = draw.integers(0, 3, (1, 80)).astype(float)
    repeated = np.repeat(np.arange(80), weights[0].astype(int))
    found = auc(scores, truth, weights)[0]
    assert found == pytest.approx(auc(scores[repeated], truth[repeated])[0])
    assert np.isnan(auc(scores, np.ones(80))[0])


def test_right_predictions_are_calibrated_and_bold_ones_are_not():
    draw = np.random.default_rng(0)
    odds = 2 * draw.normal(size=20_000)
    truth = (draw.random(20_000) < logistic(odds)).astype(float)
    assert recalibration_slope(logistic(odds), truth)[0] == pytest.approx(1, abs=0.05)
    assert recalibration_slope(logistic(2 * odds), truth)[0] == pytest.approx(0.5, abs=0.025)
    assert calibration_error(logistic(odds), truth)[0] < 0.02
    assert calibration_error(logistic(4 * odds), truth)[0] > 0.05
    curve = calibration_curve(logistic(odds), truth)
    assert sum(own["n"] for own in curve) == 20_000 and len(curve) == 10
    assert all(abs(own["predicted"] - own["observed"]) < 0.05 for own in curve)


def test_whole_images_are_drawn():
    weights = drawn_weights(["a", "a", "b", "c"], resamples=50)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
    np.testing.assert_array_equal(weights[:, [0, 2, 3]].sum(axis=1), np.full(50, 3.0))
    values = np.array([0.0, 0, 1, 1])
    found = measured(lambda own: own @ values / own.sum(axis=1), weights)
    assert found["value"] == 0.5 and found["interval"][0] < 0.5 < found["interval"][1]
