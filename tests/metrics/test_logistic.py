"""Logistic regression against a general optimiser."""

import numpy as np
import pytest
from scipy.optimize import minimize

from capjax.metrics.logistic import cross_fitted, fit_logistic, logistic


def test_it_is_the_minimum_of_the_penalised_loss():
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(200, 3))
    truth = (draw.random(200) < logistic(inputs @ [1, -2, 0.5] + 0.3)).astype(float)
    weights = draw.integers(0, 3, (2, 200)).astype(float)
    found = fit_logistic(inputs, truth, ridge=0.7, weights=weights)
    for coefficients, own in zip(found, weights, strict=True):

        def loss(b, own=own):
            margins = (2 * truth - 1) * (inputs @ b[:3] + b[3])
            return np.sum(own * np.logaddexp(0, -margins)) + 0.35 * np.sum(b[:3] ** 2)

        np.testing.assert_allclose(
            coefficients, minimize(loss, np.zeros(4), tol=1e-12).x, atol=1e-5
        )


def test_items_that_a_line_divides_have_a_finite_fit():
    inputs = np.array([[-2.0], [-1], [1], [2]])
    found = fit_logistic(inputs, np.array([0.0, 0, 1, 1]), ridge=1e-6)
    assert np.isfinite(found).all() and found[0, 0] > 5
    assert np.isnan(fit_logistic(inputs, np.ones(4), ridge=1.0)).all()
    with pytest.raises(ValueError, match="not above 0"):
        fit_logistic(inputs, np.ones(4), ridge=0.0)
    with pytest.raises(ValueError, match="not finite"):
        fit_logistic(np.full((2, 1), np.inf), np.ones(2), ridge=1.0)


def test_cross_fitting_is_a_fit_on_the_other_folds():
    draw = np.random.default_rng(2)
    inputs, folds = draw.normal(3, 2, (60, 2)), np.arange(60) % 3
    truth = (draw.random(60) < logistic(inputs[:, 0] - 3)).astype(float)
    found = cross_fitted(inputs, truth, folds, ridge=1.0)
    rest, own = folds != 1, folds == 1
    middle, scale = inputs[rest].mean(axis=0), inputs[rest].std(axis=0)
    *slopes, bias = fit_logistic((inputs[rest] - middle) / scale, truth[rest], ridge=1.0)[0]
    expected = logistic((inputs[own] - middle) / scale @ slopes + bias)
    np.testing.assert_allclose(found[own], expected)
    assert np.isnan(cross_fitted(inputs, np.ones(60), folds, ridge=1.0)).all()
    assert np.isnan(cross_fitted(inputs, truth, np.zeros(60), ridge=1.0)).all()
