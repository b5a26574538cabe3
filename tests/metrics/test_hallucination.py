"""CHAIR by hand, calibration of predictions that are right by construction."""

import numpy as np
import pytest

from capjax.metrics.hallucination import (
    calibration_curve,
    calibration_error,
    chair,
    recalibration_slope,
)
from capjax.metrics.logistic import logistic


def test_chair_by_hand():
    """Two of four words, both in the first of four captions, two of which name nothing."""
    words, wrong = np.array([3.0, 1, 0, 0]), np.array([2.0, 0, 0, 0])
    assert chair(words, wrong) == (0.5, 0.25)
    weights = np.array([[2.0, 1, 1, 0], [0, 0, 1, 1]])
    each, captions = chair(words, wrong, weights)
    np.testing.assert_array_equal(each, [4 / 7, np.nan])
    np.testing.assert_array_equal(captions, [0.5, 0.0])


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
