"""Integrated Gradients at the pixels: closed forms, another rule of quadrature, its baselines."""

import jax.numpy as jnp
import numpy as np
import pytest

from capjax.explainers import IntegratedGradientsPixels
from tests.explainers.toys import pixel_maps, pixel_net

DRAW = np.random.default_rng(0)


def midpoint(slope, end, steps):
    """end times the integral of a slope from zero to there, by the midpoint rule."""
    shares = (np.arange(steps) + 0.5) / steps
    return end * np.mean([slope(share * end) for share in shares], axis=0)


def test_of_polynomials_it_is_exact_where_the_midpoint_rule_comes_near():
    """f = x1 x2 + x1^2 at (1, 2) from zero gives (2, 1); G-23: f = x^3 from 0 to 2 gives 8."""

    def scores(x):
        one, two = x[:, 0, 0, 0], x[:, 0, 1, 0]
        return jnp.stack([one * two + one**2, two**3], axis=-1)

    slopes = (lambda x: np.array([x[1] + 2 * x[0], x[0]]), lambda x: np.array([0, 3 * x[1] ** 2]))
    image = np.array([[[[1.0, 0, 0], [2.0, 0, 0]]]])
    methods = (IntegratedGradientsPixels(steps=2),)
    (maps,) = pixel_maps(pixel_net(scores), methods, image, words=2)
    np.testing.assert_allclose(maps.values[0, :, 0, 0], [[2, 1], [0, 8]], atol=1e-5)
    np.testing.assert_allclose(maps.flags["completeness_gap"], 0, atol=1e-6)
    assert midpoint(slopes[1], np.array([1.0, 2.0]), 4)[1] == 7.875
    for word, slope in enumerate(slopes):
        near = midpoint(slope, np.array([1.0, 2.0]), 1000)
        np.testing.assert_allclose(maps.values[0, word, 0, 0], near, atol=1e-5)


def test_a_baseline_is_a_picture_and_the_gap_says_what_is_missing():
    """T-XAI-01 and 10: sums are the change of the score from black, the mean or what is blurred."""
    images = DRAW.uniform(0, 255, (2, 6, 8, 3)).astype(np.float32)
    w = DRAW.normal(0, 2e-4, (48 * 3, 2))
    mean = (100.0, 120.0, 140.0)

    def scores(x):
        x = x.reshape(len(x), -1)
        return jnp.tanh(x @ w) + jnp.tanh(x**2 @ (w / 100))

    net = pixel_net(scores, mean)
    baselines = ("black", "mean", "blurred")
    methods = [IntegratedGradientsPixels(12, baseline=name) for name in baselines]
    coarse = IntegratedGradientsPixels(1)
    *found, rough = pixel_maps(net, [*methods, coarse], images, words=2)
    grey = np.broadcast_to(np.float32(mean), images.shape)
    whole = scores(jnp.asarray(images - grey))
    for maps, start in zip(found, (np.zeros_like(images), grey), strict=False):
        change = whole - scores(jnp.asarray(start - grey))
        np.testing.assert_allclose(maps.values.sum((-1, -2, -3)), change, rtol=1e-3, atol=1e-4)
        assert np.max(maps.flags["completeness_gap"]) < 1e-3
    sums = [maps.values.sum((-1, -2, -3)) for maps in found]
    # What is blurred is as bright as the picture: little is left of the change from black.
    assert np.abs(sums[2]).max() < 0.3 * np.abs(sums[0]).max()
    change = whole - scores(jnp.asarray(-grey))
    missing = np.abs(rough.values.sum((-1, -2, -3)) - change) / np.maximum(np.abs(change), 0.1)
    np.testing.assert_allclose(rough.flags["completeness_gap"], missing, atol=1e-4)
    (note,) = coarse.notes({"completeness_gap": [0.01, 0.2]}, ("a", "dog"))
    assert "steps=1 the maps do not add up" in note and "dog (20%)" in note and "a (" not in note


def test_options_are_checked():
    with pytest.raises(ValueError, match="got baseline=white; choose one of: black, mean, blurred"):
        IntegratedGradientsPixels(baseline="white")
    with pytest.raises(ValueError, match="got steps=0; expected 1 or more"):
        IntegratedGradientsPixels(steps=0)
