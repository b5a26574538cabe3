"""Log-sum-exp and chosen logits: blocks and both kernels against all logits at once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.ops import vocabulary_kernels
from capjax.ops.platform import TRITON_BEFORE
from capjax.ops.vocabulary_loss import vocabulary_loss

KERNELS = {
    "tpu": functools.partial(vocabulary_kernels.tpu, rows=64, words=256),
    "gpu": functools.partial(vocabulary_kernels.gpu, rows=32, words=64, depth=32, parts=3),
}


def problem(rows, width, words, dtype=jnp.bfloat16, scale=1.0):
    draw = np.random.default_rng(rows + width + words)
    states = jnp.asarray(draw.normal(size=(rows, width)), dtype)
    kernel = jnp.asarray(scale * draw.normal(size=(width, words)), dtype)
    bias = jnp.asarray(draw.normal(size=words), jnp.float32)
    return states, kernel, bias, jnp.asarray(draw.integers(0, words, rows), jnp.int32)


def whole(states, kernel, bias, chosen):
    """In float64 from the rounded operands."""
    logits = np.asarray(states, np.float64) @ np.asarray(kernel, np.float64) + np.asarray(bias)
    high = logits.max(axis=1)
    total = high + np.log(np.exp(logits - high[:, None]).sum(axis=1))
    return total, logits[np.arange(len(logits)), np.asarray(chosen)]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("rows", "width", "words"), [(64, 128, 256), (65, 128, 257), (1, 32, 5), (100, 80, 700)]
)
def test_kernels_are_all_logits_at_once(kernel, rows, width, words):
    arguments = problem(rows, width, words)
    found = KERNELS[kernel](*arguments, interpret=True)
    for own, expected in zip(found, whole(*arguments), strict=True):
        assert own.shape == (rows,) and own.dtype == jnp.float32
        np.testing.assert_allclose(own, expected, rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_hold_where_logits_are_far_apart_or_forbidden(kernel):
    states, weights, bias, chosen = problem(40, 64, 300, scale=30.0)
    bias = bias.at[jnp.arange(0, 300, 2)].set(-jnp.inf)  # every second word is forbidden
    chosen = chosen // 2 * 2 + 1
    expected = whole(states, weights, bias, chosen)
    assert np.ptp(expected[0]) > 100
    found = KERNELS[kernel](states, weights, bias, chosen, interpret=True)
    # Where terms cancel, what float32 keeps is a share of the terms, in whatever order they add up.
    terms = np.abs(np.asarray(states, np.float64)) @ np.abs(np.asarray(weights, np.float64))
    kept = np.finfo(np.float32).eps * terms.max(axis=1)
    for own, right in zip(found, expected, strict=True):
        assert (np.abs(own - right) <= 3e-6 * np.abs(right) + kept).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_blocks_of_rows_are_all_logits_at_once(dtype, rows):
    states, kernel, bias, chosen = problem(30, 16, 50, dtype)
    found = vocabulary_loss(
        states.reshape(5, 6, 16), kernel, bias, chosen.reshape(5, 6), dtype=dtype, rows=rows
    )
    for own, expected in zip(found, whole(states, kernel, bias, chosen), strict=True):
        np.testing.assert_allclose(own.reshape(-1), expected, rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_kernel_is_in_programs_for_accelerators_that_multiply_in_bfloat16(platform, dtype):
    arguments = problem(300, 130, 1300, dtype)
    call = jax.jit(functools.partial(vocabulary_loss, dtype=dtype, rows=64))
    text = call.trace(*arguments).lower(lowering_platforms=(platform,)).as_text()
    kernels = [name for name in ("tpu_custom_call", "triton") if name in text]
    triton = ["triton"] if jax.__version_info__ < TRITON_BEFORE else []
    wanted = {"cpu": [], "cuda": triton, "tpu": ["tpu_custom_call"]}
    assert kernels == (wanted[platform] if dtype == jnp.bfloat16 else [])
