"""The kernel of an LSTM's steps, run as plain JAX, against a scan of the cell."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.decoders import cell, lstm_kernel
from capjax.decoders.lstm_recurrence import lstm_recurrence, narrow
from capjax.ops.linear import product
from capjax.ops.platform import TRITON_BEFORE


def problem(rows, period, size, words=3):
    draw = np.random.default_rng(rows + period + size)

    def normal(*shape):
        return jnp.asarray(draw.normal(size=shape), jnp.float32)

    kernel = (normal(size, 4 * size) / size**0.5).astype(jnp.bfloat16)
    return kernel, normal(words, period, 4 * size), normal(rows, size), normal(rows, size)


def whole(kernel, inputs, h, c):
    """A scan in float32; the product rounds h."""
    inputs = jnp.tile(inputs, (1, h.shape[0] // inputs.shape[1], 1))

    def body(carry, given):
        state = cell.lstm(given + product(carry[0], kernel, jnp.bfloat16), carry[1])
        return state, state[0]

    (_, memory), states = jax.lax.scan(body, (h, c), inputs)
    return states, memory


def assert_same(found, expected):
    states, memory = found
    assert states.dtype == jnp.bfloat16
    # Sums in another order may round a state to the other neighbour, of 2^-8 of its size.
    np.testing.assert_allclose(
        states.astype(jnp.float32), expected[0].astype(jnp.bfloat16), rtol=2**-7, atol=1e-4
    )
    off = jnp.mean(states != expected[0].astype(jnp.bfloat16))
    assert off < 0.02
    np.testing.assert_allclose(memory, expected[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("rows", "period", "size"), [(128, 128, 64), (256, 32, 128), (130, 65, 64), (3, 1, 192)]
)
def test_the_kernel_is_a_scan_of_the_cell(rows, period, size):
    arguments = problem(rows, period, size)
    assert_same(lstm_kernel.run(*arguments, interpret=True), whole(*arguments))


def test_states_between_steps_lose_nothing_by_being_narrow():
    arguments = problem(8, 8, 24)
    found, expected = narrow(*arguments), whole(*arguments)
    assert np.array_equal(found[0], expected[0].astype(jnp.bfloat16))
    assert np.array_equal(found[1], expected[1])


MAPPED = {
    "states": (None, None, 0, 0),
    "inputs": (None, 0, None, None),
    "all": (None, 0, 0, 0),
    "weights": (0, 0, 0, None),
}


@pytest.mark.parametrize("outer", MAPPED)
@pytest.mark.parametrize("inner", MAPPED)
def test_what_is_mapped_over_becomes_rows(outer, inner, monkeypatch):
    monkeypatch.setattr(lstm_kernel, "FEWEST", 1)
    drawn = problem(6, 3, 64)
    for count, axes in ((2, MAPPED[inner]), (5, MAPPED[outer])):
        drawn = [
            each if axis is None else jnp.stack([each * (1 + 0.1 * n) for n in range(count)])
            for each, axis in zip(drawn, axes, strict=True)
        ]

    def mapped(function):
        return jax.vmap(jax.vmap(function, MAPPED[inner]), MAPPED[outer])(*drawn)

    run = functools.partial(lstm_kernel.foldable, narrow, interpret=True)
    assert_same(mapped(run()), mapped(whole))


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("regions", [0, 16])
def test_it_is_in_mapped_programs_for_a_gpu_that_multiply_in_bfloat16(platform, dtype, regions):
    kernel, inputs, h, c = problem(32, 32, 1024)
    call = functools.partial(lstm_recurrence, dtype=dtype)
    if regions:
        call = jax.vmap(call, (None, None, (0, 0)))
        h, c = jnp.stack([h] * regions), jnp.stack([c] * regions)
    traced = jax.jit(call).trace(kernel.astype(jnp.float32), inputs, (h, c))
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    runs = platform == "cuda" and dtype == jnp.bfloat16 and regions > 0
    assert ("lstm_step_gpu" in text) == (runs and jax.__version_info__ < TRITON_BEFORE)


def test_gradients_do_without_it():
    kernel, inputs, h, c = problem(32, 32, 1024)
    h, c = jnp.stack([h] * 16), jnp.stack([c] * 16)

    def loss(kernel):
        call = functools.partial(lstm_recurrence, dtype=jnp.bfloat16)
        states, _ = jax.vmap(call, (None, None, (0, 0)))(kernel, inputs, (h, c))
        return jnp.sum(states)

    traced = jax.jit(jax.grad(loss)).trace(kernel.astype(jnp.float32))
    assert "lstm_step_gpu" not in traced.lower(lowering_platforms=("cuda",)).as_text()
