"""What XLA computes once, seen in the programs that it makes."""

import re

import jax
import numpy as np
import pytest

from capjax.encoders import ResNet
from capjax.ops import barrier


@pytest.fixture(scope="module")
def programs():
    """A ResNet compiled as we do and as jax does; its variables, and images."""
    encoder = ResNet(depth=18, stage=2)
    draw = np.random.RandomState(0)
    images = draw.standard_normal((2, 64, 64, 3)).astype(np.float32)
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), images)

    def drawn(leaf):
        if leaf.ndim == 1:  # of norms
            return draw.uniform(0.5, 1.0, leaf.shape).astype(np.float32)
        scale = np.sqrt(2 / np.prod(leaf.shape[:-1]))
        return (scale * draw.standard_normal(leaf.shape)).astype(np.float32)

    variables = jax.tree.map(drawn, shapes)

    def encode(variables, images):
        return encoder.apply(variables, images).positions

    ours, plain = (
        jitted.lower(variables, images).compile()
        for jitted in (barrier.jit(encode).compiled(), jax.jit(encode))
    )
    return ours, plain, variables, images


@pytest.mark.optimised
def test_a_block_does_not_compute_the_shortcuts_of_others_again(programs):
    ours, plain = (len(re.findall(r" maximum\(", each.as_text())) for each in programs[:2])
    assert ours == 8 + 1 + 4 * 2  # of the pool's nine places, after the first norm, two a block
    # With options where they are needed, and only there.
    assert (plain > ours) == bool(barrier.compiler_options("cpu"))


@pytest.mark.optimised
def test_results_are_the_same(programs):
    ours, plain, *arguments = programs
    np.testing.assert_allclose(ours(*arguments), plain(*arguments), atol=1e-5)


def test_options_of_jit_are_passed_on():
    scaled = barrier.jit(lambda x, times: x * len(times), static_argnames="times")
    assert scaled(2, times=(1, 2, 3)) == 6
    assert scaled(2, times=(1,)) == 2
    assert scaled.compiled()._cache_size() == 2


def test_other_platforms_need_no_options():
    assert barrier.compiler_options("cuda") is None
    assert barrier.compiler_options("tpu") is None
