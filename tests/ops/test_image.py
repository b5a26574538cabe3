"""Resizing and pooling against hand-computed numbers, loops, Pillow and jax.image."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from capjax.ops.image import (
    adaptive_average_pool,
    doubled,
    gaussian_blur,
    halved,
    pool_matrix,
    resize,
    resize_matrix,
)


@pytest.mark.parametrize(
    ("n", "m", "head", "tail"),
    [
        (8, 4, [0, 2, 5, 7], []),
        (64, 32, [0, 2], [63]),
        (256, 64, [0, 4, 8, 12, 16], [247, 251, 255]),
    ],
)
def test_golden_align_corners_nearest(n, m, head, tail):
    index = resize_matrix(n, m, "nearest", "align_corners").argmax(axis=1).tolist()
    assert index[: len(head)] == head
    assert index[len(index) - len(tail) :] == tail


def test_align_corners_nearest_rounds_half_up():
    """Indices 15 and 16 of 64 -> 32 lie at 30.48 and 32.52: the step of three is between them."""
    index = resize_matrix(64, 32, "nearest", "align_corners").argmax(axis=1)
    assert index[15:17].tolist() == [30, 33]
    assert resize_matrix(4, 3, "nearest", "align_corners").argmax(axis=1).tolist() == [0, 2, 3]


def test_golden_half_pixel_bilinear():
    x = jnp.asarray([[0.0, 1.0], [2.0, 3.0]])[..., None]
    expected = [
        [0, 0.25, 0.75, 1],
        [0.5, 0.75, 1.25, 1.5],
        [1.5, 1.75, 2.25, 2.5],
        [2, 2.25, 2.75, 3],
    ]
    np.testing.assert_allclose(resize(x, (4, 4))[..., 0], expected, atol=1e-6)


def test_golden_adaptive_pool():
    expected = [0, 0.5, 1, 1.5, 2, 2.5, 3, 4, 4.5, 5, 5.5, 6, 6.5, 7]
    np.testing.assert_allclose(pool_matrix(8, 14) @ np.arange(8), expected, atol=1e-6)


@pytest.mark.parametrize("size", [(14, 14), (3, 5), (1, 1), (7, 9)])
def test_adaptive_pool_equals_loops(size):
    x = np.random.RandomState(0).standard_normal((2, 7, 9, 3)).astype(np.float32)
    expected = np.zeros((2, *size, 3))
    for row in range(size[0]):
        top, bottom = math.floor(row * 7 / size[0]), math.ceil((row + 1) * 7 / size[0])
        for column in range(size[1]):
            left, right = math.floor(column * 9 / size[1]), math.ceil((column + 1) * 9 / size[1])
            expected[:, row, column] = x[:, top:bottom, left:right].mean(axis=(1, 2))
    np.testing.assert_allclose(adaptive_average_pool(jnp.asarray(x), size), expected, atol=1e-6)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("size", [(5, 4), (20, 31), (12, 9)])
def test_half_pixel_equals_jax(size, antialias):
    x = jnp.asarray(np.random.RandomState(1).standard_normal((2, 12, 9, 3)), jnp.float32)
    expected = jax.image.resize(x, (2, *size, 3), "bilinear", antialias=antialias)
    np.testing.assert_allclose(resize(x, size, antialias=antialias), expected, atol=1e-5)


def test_antialias_equals_pillow():
    x = np.random.RandomState(2).standard_normal((23, 17)).astype(np.float32)
    expected = np.asarray(Image.fromarray(x).resize((6, 11), Image.Resampling.BILINEAR))
    ours = resize(jnp.asarray(x)[..., None], (11, 6), antialias=True)[..., 0]
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners", "asymmetric"])
@pytest.mark.parametrize(("n", "m"), [(7, 3), (3, 7), (4, 4), (5, 1), (1, 3)])
def test_bilinear_equals_interpolation(n, m, coordinates):
    """NumPy's piecewise-linear interpolation, at positions written out one by one."""
    values = np.random.RandomState(3).standard_normal(n)
    expected = []
    for i in range(m):
        if coordinates == "half_pixel":
            position = (i + 0.5) * n / m - 0.5
        elif coordinates == "asymmetric":
            position = i * n / m
        else:
            position = i * (n - 1) / (m - 1) if m > 1 else 0.0
        expected.append(np.interp(position, np.arange(n), values))
    matrix = resize_matrix(n, m, "bilinear", coordinates)
    np.testing.assert_allclose(matrix @ values, expected, atol=1e-6)


def test_dtype_is_kept_and_integers_become_float32():
    assert resize(jnp.ones((4, 4, 1), jnp.bfloat16), (2, 2)).dtype == jnp.bfloat16
    assert resize(jnp.full((2, 2, 1), 7, jnp.uint8), (3, 3)).dtype == jnp.float32


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"method": "cubic"}, "nearest or bilinear"),
        ({"coordinates": "corners"}, "align_corners"),
        ({"method": "nearest", "antialias": True}, "antialias"),
    ],
)
def test_unknown_options_are_named(arguments, said):
    with pytest.raises(ValueError, match=said):
        resize(jnp.ones((4, 4, 1)), (2, 2), **arguments)
    with pytest.raises(ValueError, match="at least 1"):
        resize(jnp.ones((4, 4, 1)), (0, 2))


@pytest.mark.parametrize(("border", "mode"), [("constant", "constant"), ("symmetric", "reflect")])
def test_gaussian_blur_equals_scipy_across_blocks(border, mode):
    x = np.random.default_rng(0).random((1, 5, 130, 1), np.float32)
    x[:, :, 60:68] *= 9  # where two blocks meet
    found = gaussian_blur(jnp.asarray(x), 1.5, 4, border=border)
    expected = gaussian_filter(x[0, :, :, 0].astype(float), 1.5, mode=mode, radius=4)
    np.testing.assert_allclose(found[0, :, :, 0], expected, atol=1e-5)


def test_a_pyramid_goes_down_by_means_and_up_as_resize_does():
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 2)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0)))
    means = sum(padded[:, row::2, column::2] for row in (0, 1) for column in (0, 1)) / 4
    np.testing.assert_allclose(halved(x), means, atol=1e-6)
    np.testing.assert_allclose(doubled(x), resize(x, (6, 12)), atol=1e-6)
