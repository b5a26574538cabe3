"""What XLA computes once, seen in the programs that it makes."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.encoders import ResNet
from capjax.ops import barrier


@pytest.fixture(scope="module")
def net():
    encoder, images = ResNet(depth=18, stage=2), jnp.ones((1, 64, 64, 3))
    return encoder, jax.eval_shape(encoder.init, jax.random.key(0), images), images


@pytest.mark.optimised
def test_a_block_does_not_compute_the_shortcuts_of_others_again(net):
    encoder, variables, images = net

    def encode(variables, images):
        return encoder.apply(variables, images).positions

    def maxima(jitted):
        program = jitted.lower(variables, images).compile().as_text()
        return len(re.findall(r" maximum\(", program))

    written = 8 + 1 + 4 * 2  # of the pool's nine places, after the first norm, two a block
    assert maxima(barrier.jit(encode).compiled()) == written
    # With options where they are needed, and only there.
    assert (maxima(jax.jit(encode)) > written) == bool(barrier.compiler_options("cpu"))


@pytest.mark.optimised
def test_results_are_the_same(net):
    encoder, variables, _ = net
    images = jnp.asarray(np.random.RandomState(0).standard_normal((2, 64, 64, 3)), jnp.float32)
    variables = jax.jit(encoder.init)(jax.random.key(1), images)

    def encode(variables, images):
        return encoder.apply(variables, images).positions

    np.testing.assert_allclose(
        barrier.jit(encode)(variables, images), jax.jit(encode)(variables, images), atol=1e-5
    )


def test_options_of_jit_are_passed_on():
    scaled = barrier.jit(lambda x, times: x * len(times), static_argnames="times")
    assert scaled(2, times=(1, 2, 3)) == 6
    assert scaled(2, times=(1,)) == 2
    assert scaled.compiled()._cache_size() == 2


def test_other_platforms_need_no_options():
    assert barrier.compiler_options("cuda") is None
    assert barrier.compiler_options("tpu") is None
