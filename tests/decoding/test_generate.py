"""Decoding of real decoders: rescoring, batches, traces."""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from capjax import rng
from capjax.captioner import CaptionNet, token_log_probs
from capjax.decoders.attention_lstm import SGRVINOD, AttentionLSTM
from capjax.decoding import Beam, Greedy, Sample, generate
from capjax.types import Features

STATIC = ("net", "method", "eos", "max_len", "suppress")
PAD, BOS, EOS = 0, 1, 2


class NoEncoder(nn.Module):
    """Stands where an encoder would: these tests start from features."""

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False, remat: bool = False) -> Features:
        return Features.from_grid(images)


def attention_net(**fields) -> CaptionNet:
    decoder = AttentionLSTM(
        vocab_size=12, features=6, hidden=8, **{"attention": 5, "embedding": 7, **fields}
    )
    return CaptionNet(NoEncoder(), decoder, (0.0,) * 3, (1.0,) * 3)


@functools.cache
def variables_of(net: CaptionNet):
    tokens = jnp.zeros((1, 2), jnp.int32)
    init = functools.partial(net.init, method="teacher_force")
    shapes = jax.eval_shape(init, jax.random.key(0), some_features(1), tokens)
    draw = np.random.default_rng(0)
    # Initial heads are nearly zero: spread them, so that captions differ and some end early.
    variables = jax.tree.map(lambda leaf: draw.normal(0, 0.6, leaf.shape).astype("f4"), shapes)
    variables["params"]["decoder"]["head_bias"][EOS] -= 0.25
    return variables


def some_features(batch: int, seed: int = 0) -> Features:
    maps = np.random.default_rng(seed).normal(size=(batch, 2, 3, 6))
    return Features.from_grid(jnp.asarray(maps, jnp.float32))


SG = {**SGRVINOD, "attention": 5, "embedding": 7}
SAMPLE = Sample(count=2, top_p=0.9)


@pytest.mark.parametrize(
    "method, fields", [(Greedy(), {}), (Beam(width=3), {}), (SAMPLE, {}), (Beam(width=4), SG)]
)
def test_teacher_forcing_gives_the_same_log_probabilities(method, fields) -> None:
    net = attention_net(**fields)
    variables, features = variables_of(net), some_features(8)
    keys = rng.per_example(jax.random.key(1), jnp.arange(8))
    decoded = jax.jit(generate, static_argnames=STATIC)(
        net, variables, features, method, eos=EOS, max_len=9, suppress=(PAD, BOS), keys=keys
    )
    assert not jnp.isin(decoded.tokens, BOS).any()
    assert len(np.unique(decoded.lengths)) > 1, (
        "the toy weights should end captions at several lengths"
    )
    for place in range(decoded.tokens.shape[1]):
        again = token_log_probs(net, variables, features, decoded.tokens[:, place])
        written = np.arange(9) < np.asarray(decoded.lengths)[:, place, None]
        np.testing.assert_allclose(
            np.where(written, again, 0.0), decoded.log_probs[:, place], rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("method", [Beam(width=3), SAMPLE])
def test_a_batch_is_its_images_one_by_one(method) -> None:
    net = attention_net()
    variables, features = variables_of(net), some_features(4)
    keys = rng.per_example(jax.random.key(1), jnp.arange(4))
    run = jax.jit(generate, static_argnames=STATIC)
    together = run(net, variables, features, method, eos=EOS, max_len=8, keys=keys)
    for row in range(4):
        one = jax.tree.map(operator.itemgetter(slice(row, row + 1)), features)
        alone = run(net, variables, one, method, eos=EOS, max_len=8, keys=keys[row : row + 1])
        np.testing.assert_array_equal(alone.tokens[0], together.tokens[row])
        np.testing.assert_array_equal(alone.finished[0], together.finished[row])
        np.testing.assert_allclose(
            alone.log_probs[0], together.log_probs[row], rtol=1e-4, atol=1e-5
        )


def test_equal_shapes_are_traced_once() -> None:
    traces = []

    def counted(*arguments, **options):
        traces.append(1)
        return generate(*arguments, **options)

    run = jax.jit(counted, static_argnums=(0, 3), static_argnames=("eos", "max_len"))
    for seed in range(2):
        net = attention_net()  # an equal module, built again
        run(net, variables_of(net), some_features(2, seed), Beam(), eos=EOS, max_len=4)
    assert len(traces) == 1


def test_features_are_not_repeated_for_each_hypothesis() -> None:
    """No array of the lowered program holds the annotation vectors once a beam."""
    net = attention_net()
    run = jax.jit(generate, static_argnames=STATIC)
    width = 3
    text = run.lower(
        net, variables_of(net), some_features(5), Beam(width=width), eos=EOS, max_len=4
    ).as_text()
    assert "tensor<5x6x6xf32>" in text  # B L D
    for repeated in ("5x3x6x6", "3x5x6x6", "15x6x6", "5x6x3x6", "5x6x6x3"):
        assert f"tensor<{repeated}xf32>" not in text
