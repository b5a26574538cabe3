"""All methods for several sentences at once: each as if it had been asked alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.explainers.maps import METHODS, explain_targets
from capjax.types import Features
from tests.explainers.toys import attentive


def mixed(features, draw):
    """Features of an encoder of two layers and three heads, with a class token."""
    batch, frames, positions = features.valid.shape
    shape = (batch, frames, 2, 3, 1 + positions, 1 + positions)
    read = jax.nn.softmax(jnp.asarray(draw.normal(size=shape), jnp.float32))
    return dataclasses.replace(features, attentions=read)


@pytest.mark.parametrize("frames", [1, 3])
def test_several_sentences_are_each_explained_as_alone(frames):
    captioner = attentive()
    draw = np.random.default_rng(0)
    maps = jnp.asarray(draw.normal(size=(2, frames, 2, 3, 24)), jnp.float32)
    features = mixed(Features.from_grid(maps), draw)
    tokens = jnp.asarray(draw.integers(3, captioner.text.size, (2, 3, 4)), jnp.int32)
    lengths = jnp.array([[4, 3, 2], [1, 4, 4]])
    weights = jnp.asarray(draw.integers(0, 2, (2, 3, 5, 4)), jnp.float32)
    arguments = (captioner.net, captioner.variables, features)
    together = explain_targets(*arguments, tokens, lengths, weights, methods=tuple(METHODS))
    assert set(together) == set(METHODS)
    for name, plain in METHODS.items():
        method = jax.jit(plain, static_argnums=0)
        for query in range(3):
            asked = (tokens[:, query], lengths[:, query], weights[:, query])
            alone = method(*arguments, *asked)
            np.testing.assert_allclose(together[name].maps[:, query], alone, atol=2e-5)
            if frames == 1:
                assert together[name].frames is None
                continue
            whole = alone.sum(-1)
            if name.startswith("caption_guided"):
                means = features.frame_means()
                whole = method(captioner.net, captioner.variables, means, *asked)[..., 0]
            np.testing.assert_allclose(together[name].frames[:, query], whole, atol=2e-5)


def test_words_and_sentences_share_one_trace():
    captioner = attentive()
    features = mixed(Features.from_grid(jnp.ones((1, 2, 3, 24))), np.random.default_rng(0))
    traces = []

    @jax.jit
    def call(tokens, lengths, weights):
        traces.append(tokens.shape)
        arguments = (captioner.net, captioner.variables, features, tokens, lengths, weights)
        return explain_targets(*arguments, methods=tuple(METHODS))

    for seed in range(3):
        draw = np.random.default_rng(seed)
        tokens = draw.integers(3, captioner.text.size, (1, 2, 8))
        call(tokens, draw.integers(1, 9, (1, 2)), draw.random((1, 2, 8, 8), np.float32))
    assert len(traces) == 1
