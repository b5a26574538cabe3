"""Balls: exact, idempotent projections, and 8-bit pictures inside them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.studies.adversarial.balls import in_levels, project, random_start, size

NORMS = ("linf", "l2")
DRAW = np.random.default_rng(1)
IMAGES = DRAW.integers(0, 256, (3, 4, 5, 3)).astype(np.uint8)
IMAGES[0, :2] = [0, 255, 0]  # at the ends of the range
PIXELS = np.float32(IMAGES / np.float32(255))
EPSILONS = np.array([0.0, 4 / 255, 0.2], np.float32)
FAR = (PIXELS + DRAW.normal(0, 0.3, PIXELS.shape)).astype(np.float32)

projected = jax.jit(project, static_argnums=3)
stored = jax.jit(in_levels, static_argnums=3)
started = jax.jit(random_start, static_argnums=3)


@pytest.mark.parametrize("norm", NORMS)
def test_projection_is_exact_and_idempotent(norm):
    once = projected(FAR, PIXELS, EPSILONS, norm)
    np.testing.assert_array_equal(projected(once, PIXELS, EPSILONS, norm), once)
    assert once.min() >= 0 and once.max() <= 1
    np.testing.assert_array_equal(once[0], PIXELS[0])
    change = np.asarray(once, np.float64) - PIXELS
    if norm == "linf":
        low = np.clip(PIXELS - EPSILONS[:, None, None, None], 0, 1)
        high = np.clip(PIXELS + EPSILONS[:, None, None, None], 0, 1)
        np.testing.assert_array_equal(once, np.clip(FAR, low, high))
    else:
        far = np.sqrt(np.mean(change**2, axis=(1, 2, 3)))
        assert np.all(far <= EPSILONS)
        within = PIXELS + 0.001 * np.sign(PIXELS - 0.5) * -1
        near = projected(within, PIXELS, np.full(3, 0.1, np.float32), norm)
        np.testing.assert_array_equal(near, within.astype(np.float32))


@pytest.mark.parametrize("norm", NORMS)
def test_stored_pictures_stay_in_the_ball(norm):
    moved = projected(FAR, PIXELS, EPSILONS, norm)
    pictures = np.asarray(stored(moved, IMAGES, EPSILONS, norm))
    assert pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures[0], IMAGES[0])
    change = pictures.astype(float) - IMAGES
    far = np.asarray(size(jnp.asarray(change), norm))
    assert np.all(far <= EPSILONS * 255 + 1e-4)
    assert np.all(far[1:] > 0.6 * EPSILONS[1:] * 255)
    if norm == "linf":
        assert np.abs(change[1]).max() == 4


@pytest.mark.parametrize("norm", NORMS)
def test_random_starts_fill_the_ball_by_the_pictures_own_key(norm):
    keys = jax.vmap(jax.random.key)(np.arange(3))
    start = started(PIXELS, EPSILONS, keys, norm)
    assert np.all(np.asarray(size(start - PIXELS, norm)) <= EPSILONS + 1e-7)
    assert np.abs(start[2] - PIXELS[2]).max() > 0.1
    turned = started(PIXELS[::-1], EPSILONS[::-1], keys[::-1], norm)
    np.testing.assert_array_equal(turned[::-1], start)
