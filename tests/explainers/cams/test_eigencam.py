"""Eigen-CAM against NumPy's singular vectors."""

import jax.numpy as jnp
import numpy as np
import pytest

from capjax.explainers import EigenCAM
from capjax.explainers.cams.eigencam import first_component
from capjax.explainers.contract import answer
from capjax.explainers.programs import make_request
from capjax.types import Features
from tests.explainers.toys import linear_net


@pytest.mark.parametrize("shape", [(2, 6, 4), (1, 4, 6)], ids=["few channels", "few cells"])
def test_is_the_projection_on_the_first_singular_vector(shape):
    activations = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    flat = activations.reshape(-1, shape[-1])
    expected = flat @ np.linalg.svd(flat)[2][0]
    expected = expected if expected.sum() >= 0 else -expected
    for sign in (1, -1):
        found = first_component(sign * activations)
        np.testing.assert_allclose(found, expected.reshape(shape[:2]), atol=1e-4)
    assert not np.any(first_component(0 * activations))


def test_words_share_one_map_and_readers_are_told():
    grid = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4, 5)), jnp.float32)
    asked = (np.ones((2, 1, 3), int), np.full((2, 1), 3), np.ones((2, 1, 2, 3), np.float32))
    request = make_request(linear_net(), {}, Features.from_grid(grid), *asked)
    values = np.asarray(EigenCAM()(linear_net(), {}, request)["eigencam"].values)
    assert values.shape == (2, 1, 2, 1, 3, 4)
    np.testing.assert_array_equal(values[:, :, 0], values[:, :, 1])
    for row in range(2):
        own = first_component(grid[row].reshape(1, 12, 5)).reshape(1, 3, 4)
        np.testing.assert_allclose(values[row, 0, 0], own, atol=1e-5)
    assert "the same for every word" in EigenCAM().notes({}, ("a",))[0]
    with pytest.raises(ValueError, match="explains a word, not the difference of two"):
        contrast = request.replace(alternatives=np.zeros((2, 1, 2, 3), int))
        answer(EigenCAM(), linear_net(), {}, contrast)
