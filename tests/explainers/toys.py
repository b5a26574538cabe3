"""Tiny captioners for the tests of explanations."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from capjax.captioner import Captioner, CaptionNet, build_net
from capjax.decoders import LSTM, AttentionLSTM
from capjax.encoders import ConvNet
from capjax.explainers import Method
from capjax.explainers.programs import make_request
from capjax.text.vocabulary import Vocabulary
from capjax.types import Features, Preprocessing

TEXT = Vocabulary.build(("a man on a horse rides the red wave", "two dogs play with a ball"))
PREPROCESSING = ConvNet.preprocessing((64, 64))


def attentive_net(*, attention: bool = True) -> CaptionNet:
    """A small net over an 8x8 grid, with or without attention."""
    fields = {"vocab_size": TEXT.size, "features": 24, "hidden": 16, "embedding": 10}
    decoder = AttentionLSTM(attention=12, **fields) if attention else LSTM(**fields)
    return build_net(ConvNet(widths=(8, 16, 24), residuals=(0, 1, 1)), decoder, PREPROCESSING)


def randomised(net: CaptionNet, preprocessing: Preprocessing, seed: int = 0) -> dict:
    """Random variables, so large that maps differ from word to word."""
    images = jnp.zeros((1, *preprocessing.size, 3))
    # Drawn with NumPy: compiling the initialisers takes longer than all that is tested with it.
    draw = np.random.default_rng(seed)
    shapes = jax.eval_shape(net.init, jax.random.key(0), images, jnp.zeros((1, 3), jnp.int32))
    variables = jax.tree.map(
        lambda leaf: jnp.asarray(draw.normal(0, 0.4, leaf.shape), leaf.dtype), dict(shapes)
    )
    variables["batch_stats"] = jax.tree.map(lambda leaf: 1 + leaf**2, variables["batch_stats"])
    return variables


@functools.cache
def attentive(seed: int = 0) -> Captioner:
    """A random captioner with attention."""
    net = attentive_net()
    return Captioner(net, randomised(net, PREPROCESSING, seed), TEXT, PREPROCESSING)


def asking(method: Method, answer: str | None = None):
    """A jitted function of one sentence an image that gives one answer's maps [B N F P].

    Its arguments: net, variables, features, tokens [B T], lengths [B], weights [B N T], measure.
    """

    @functools.partial(jax.jit, static_argnums=0, static_argnames="measure")
    def call(net, variables, features, tokens, lengths, weights, measure="log_prob"):
        one = (jnp.asarray(value)[:, None] for value in (tokens, lengths, weights))
        request = make_request(net, variables, features, *one, measure=measure)
        maps = method(net, variables, request)[answer or method.NAME].values[:, 0]
        return maps.reshape(*maps.shape[:-2], -1)

    return call


class Linear(nn.Module):
    """A "decoder" whose logits are a known linear function of the pooled features, every step."""

    def __call__(self, features: Features, tokens: jax.Array, keys: object = None):
        pooled = features.pooled
        hidden = jnp.broadcast_to(pooled[:, None], (*tokens.shape, pooled.shape[-1]))
        return hidden, None

    def readout(self, hidden):
        return hidden


def linear_net() -> CaptionNet:
    """A net of `Linear`: logit k is the mean of channel k."""
    return CaptionNet(ConvNet(), Linear(), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class Pixels(nn.Module):
    """An "encoder" whose positions are the pixels themselves."""

    def __call__(self, images, train=False, remat=False):
        del train, remat
        return Features.from_grid(images)


class Formula(nn.Module):
    """A "decoder" whose logits are a given function [B F P D] -> [B V], at every step."""

    of: Callable[[jax.Array], jax.Array]

    def __call__(self, features: Features, tokens: jax.Array, keys: object = None):
        logits = self.of(features.positions)
        return jnp.broadcast_to(logits[:, None], (*tokens.shape, logits.shape[-1])), None

    def readout(self, hidden):
        return hidden


def pixel_net(of, mean=(0.0, 0.0, 0.0)) -> CaptionNet:
    """A net whose logits are a function of the raw pixels less `mean`, [B F H*W 3] -> [B V]."""
    return CaptionNet(Pixels(), Formula(of), mean, (1.0, 1.0, 1.0))


def pixel_maps(net, methods, images, *, words=1):
    """Jitted answers of methods, by the logit of each of `words` tokens: Maps of one sentence each.

    A second sentence says the same words from the last to the first, and has the same maps.
    """
    images = jnp.asarray(images, jnp.float32)
    order = np.arange(words, dtype=np.int32)
    tokens = np.broadcast_to(np.stack([order, order[::-1]]), (len(images), 2, words))
    lengths = np.full((len(images), 2), words, np.int32)
    weights = np.broadcast_to(np.eye(words, dtype=np.float32), (len(images), 2, words, words))

    @jax.jit
    def call(images):
        features = net.apply({}, images, method="encode")
        given = {"images": images, "measure": "logit"}
        request = make_request(net, {}, features, tokens, lengths, weights, **given)
        return [method(net, {}, request)[method.NAME] for method in methods]

    answers = call(images)
    for maps in answers:
        first, second = maps.values[:, 0], maps.values[:, 1, ::-1]
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-5 * np.abs(first).max())
    return jax.tree.map(lambda leaf: np.asarray(leaf[:, 0]), answers)
