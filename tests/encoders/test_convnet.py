"""The small net: shapes, independence of the batch, coordinates, gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.encoders import ENCODERS, ConvNet
from capjax.encoders.convnet import place_basis
from capjax.types import Preprocessing

SMALL = ConvNet(widths=(8, 16), residuals=(0, 1), coordinates=False)


@functools.cache
def initialised(encoder):
    """Variables do not depend on the size of the images."""
    variables = jax.jit(encoder.init)(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    return variables, jax.jit(encoder.apply)


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(np.random.RandomState(0).uniform(-1, 1, (3, 32, 48, 3)), jnp.float32)


def test_each_stage_halves_the_grid(images):
    variables, apply = initialised(SMALL)
    features = apply(variables, images)
    assert features.grid == (8, 12)
    assert features.positions.shape == (3, 1, 96, 16)


def test_an_image_does_not_depend_on_its_batch(images):
    variables, apply = initialised(SMALL)
    together = apply(variables, images).positions
    for index in range(len(images)):
        alone = apply(variables, images[index : index + 1]).positions[0]
        np.testing.assert_allclose(together[index], alone, atol=1e-5)


def test_training_normalises_by_the_batch_and_moves_the_running_statistics(images):
    one_stage = SMALL.clone(widths=(8,), residuals=(0,))
    variables = one_stage.init(jax.random.key(0), images)
    seen, updated = one_stage.apply(variables, images, train=True, mutable=["batch_stats"])
    kernel = variables["params"]["stage0"]["kernel"]
    maps = jax.lax.conv_general_dilated(
        images, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    maps = np.asarray(maps, np.float64).reshape(-1, 8)
    expected = (maps - maps.mean(0)) / np.sqrt(maps.var(0) + 1e-5)
    np.testing.assert_allclose(
        seen.positions.reshape(-1, 8), np.maximum(expected, 0), rtol=1e-4, atol=1e-5
    )
    running = updated["batch_stats"]["stage0_norm"]
    np.testing.assert_allclose(running["mean"], 0.05 * maps.mean(0), atol=1e-6)
    np.testing.assert_allclose(running["var"], 0.95 + 0.05 * maps.var(0), rtol=1e-5)


def test_a_cell_lies_over_the_middle_of_what_it_sees():
    """The gradient of a cell is nonzero on a window that is symmetric around the cell."""
    encoder = SMALL.clone(widths=(8, 8, 8), residuals=(0, 0, 1))
    images = jnp.asarray(np.random.RandomState(1).uniform(-1, 1, (1, 96, 96, 3)), jnp.float32)
    variables = encoder.init(jax.random.key(0), images)

    def cell(images):
        return jnp.sum(encoder.apply(variables, images).positions[0, 0, 6 * 12 + 5])

    seen = np.abs(np.asarray(jax.grad(cell)(images))[0]).sum(-1) > 0
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    assert rows[0] + rows[-1] == 2 * (6 * 8) + 7
    assert columns[0] + columns[-1] == 2 * (5 * 8) + 7


def test_places_are_columns_rows_and_their_squares():
    x, y, xx, yy = jnp.moveaxis(place_basis(2, 3), -1, 0)
    np.testing.assert_array_equal(x, [[-1, 0, 1], [-1, 0, 1]])
    np.testing.assert_array_equal(y, [[-1, -1, -1], [1, 1, 1]])
    np.testing.assert_array_equal(xx, [[1, 0, 1], [1, 0, 1]])
    np.testing.assert_array_equal(yy, np.ones((2, 3)))


def test_coordinates_tell_places_apart():
    """On a constant image, inner positions differ only if the place is added."""
    images = jnp.full((1, 64, 64, 3), 0.3)

    def spread(coordinates):
        variables, apply = initialised(SMALL.clone(coordinates=coordinates))
        maps = apply(variables, images).positions.reshape(16, 16, -1)
        return float(jnp.std(maps[6:10, 6:10], axis=(0, 1)).max())

    assert spread(False) < 1e-5 < 1e-3 < spread(True)


def test_every_parameter_gets_a_gradient(images):
    encoder = SMALL.clone(coordinates=True)
    variables, _ = initialised(encoder)
    gradient = jax.jit(jax.grad(lambda v: jnp.sum(jnp.square(encoder.apply(v, images).positions))))(
        variables
    )
    for leaf in jax.tree.leaves(gradient):
        assert float(jnp.abs(leaf).max()) > 0


def test_bfloat16_stays_near(images):
    variables, apply = initialised(SMALL)
    exact = np.asarray(apply(variables, images).positions)
    rounded = SMALL.clone(dtype=jnp.bfloat16).apply(variables, images).positions
    assert rounded.dtype == jnp.bfloat16
    difference = np.linalg.norm(np.asarray(rounded, np.float32) - exact) / np.linalg.norm(exact)
    assert difference < 0.05


def test_widths_and_residuals_must_agree(images):
    with pytest.raises(ValueError, match="2 widths and 3 residuals"):
        ConvNet(widths=(8, 16)).init(jax.random.key(0), images)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_has_a_default_preprocessing(name):
    preprocessing = ENCODERS[name]().preprocessing(size=(96, 128))
    assert isinstance(preprocessing, Preprocessing)
    assert preprocessing.size == (96, 128)
