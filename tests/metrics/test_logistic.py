"""Logistic regression against a general optimiser, AUC by all pairs."""

import numpy as np
import pytest
from scipy.optimize import minimize

from capjax.metrics.logistic import auc, cross_fitted, fit_logistic, logistic


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


@pytest.mark.parametrize("seed", range(4))
def test_values_far_from_all_others_do_not_make_it_diverge(seed):
    """Of sure words nearly all log-probabilities are 0, and a few are not."""
    draw = np.random.default_rng(seed)
    inputs = np.stack([-np.abs(draw.standard_t(1, 700)) * 1e-3, draw.normal(size=700)], axis=1)
    truth = np.zeros(700)
    truth[:20] = 1
    inputs[:20, 0] = -draw.uniform(0.2, 0.9, 20)
    inputs = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)

    def loss(b):
        margins = (2 * truth - 1) * (inputs @ b[:2] + b[2])
        return np.sum(np.logaddexp(0, -margins)) + 0.5 * np.sum(b[:2] ** 2)

    expected = minimize(loss, np.zeros(3), tol=1e-10).x
    np.testing.assert_allclose(fit_logistic(inputs, truth, ridge=1.0)[0], expected, atol=1e-4)


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
    # An input of one value up to rounding tells nothing, and its rounding is not blown up.
    constant = 0.1 + 2e-17 * draw.normal(size=(60, 1))
    inputs = np.concatenate([inputs, constant], axis=1)
    same = cross_fitted(inputs, truth, folds, ridge=1.0)
    np.testing.assert_allclose(same[own], expected, rtol=1e-6)
    assert np.isnan(cross_fitted(inputs, np.ones(60), folds, ridge=1.0)).all()
    assert np.isnan(cross_fitted(inputs, truth, np.zeros(60), ridge=1.0)).all()


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
