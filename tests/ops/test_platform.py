"""The forms of a processor are in its programs, and in no others."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.decoders import cell
from capjax.ops import platform

ELSEWHERE = ("tpu", "cuda", "rocm")


def text(function, *arguments, on):
    """The program that jit lowers for a platform, whether or not such a device is here."""
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=(on,)).as_text()


def test_a_form_is_chosen_by_the_platform_of_the_program():
    def function(x):
        return platform.on_processor(jnp.sin, jnp.cos, x)

    def forms(on):
        return re.findall(r"stablehlo\.(sine|cosine)", text(function, x, on=on))

    x = jnp.arange(3.0)
    assert forms("cpu") == ["sine"]
    for other in ELSEWHERE:
        assert forms(other) == ["cosine"]
    np.testing.assert_allclose(function(x), np.sin(x), rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(jax.grad(function))(x), np.cos(x), rtol=1e-6)


@pytest.mark.parametrize("on", ["cpu", *ELSEWHERE])
def test_a_barrier_stands_on_a_processor_only(on):
    def slope(x):
        return jax.grad(lambda x: jnp.sum(platform.barrier({"x": x})["x"] ** 2))(x)

    for function in (platform.barrier, slope):
        assert ("optimization_barrier" in text(function, jnp.ones(3), on=on)) == (on == "cpu")
    np.testing.assert_array_equal(slope(jnp.arange(3.0)), 2 * np.arange(3.0))


@pytest.mark.parametrize("on", ["cpu", *ELSEWHERE])
def test_an_lstm_step_has_its_barrier_on_a_processor_only(on):
    sums, memory = jnp.ones((2, 12)), jnp.ones((2, 3))
    assert ("optimization_barrier" in text(cell.lstm, sums, memory, on=on)) == (on == "cpu")
