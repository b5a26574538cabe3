"""Images encoded a few at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.captioner import CaptionNet
from capjax.decoders import LSTM
from capjax.encoders import ConvNet
from capjax.ops import chunks
from tests import compiled


@pytest.mark.parametrize("shape", [(6, 16, 16, 3), (2, 3, 16, 16, 3)])
def test_a_captioner_encodes_in_chunks(shape, monkeypatch):
    net = CaptionNet(ConvNet((8, 8), (0, 1)), LSTM(5, 8), (127.5,) * 3, (127.5,) * 3)
    images = jnp.asarray(np.random.RandomState(1).randint(0, 256, shape), jnp.uint8)
    variables = compiled.init(net, jax.random.key(0), images, jnp.ones((shape[0], 2), jnp.int32))

    def encoded():
        """Features, and the slope of what depends on them; traced as `chunks` is at the call."""

        @jax.jit
        def call(variables):
            def loss(params):
                given = {**variables, "params": params}
                features = net.apply(given, images, method="encode")
                return jnp.sum(jnp.sin(features.positions)), features

            return jax.grad(loss, has_aux=True)(variables["params"])

        return call(variables)

    slope, whole = encoded()
    monkeypatch.setattr(chunks, "chunking_pays", lambda: True)
    slope_of_parts, parts = encoded()
    assert parts.grid == whole.grid
    np.testing.assert_allclose(parts.positions, whole.positions, atol=1e-5)
    np.testing.assert_array_equal(parts.valid, whole.valid)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, atol=1e-3),
        slope_of_parts,
        slope,
    )


def test_training_shares_statistics(monkeypatch):
    monkeypatch.setattr(chunks, "chunking_pays", lambda: True)
    net = CaptionNet(ConvNet((8,), (0,)), LSTM(5, 8), (127.5,) * 3, (127.5,) * 3)
    images = jnp.asarray(np.random.RandomState(1).randint(0, 256, (6, 16, 16, 3)), jnp.uint8)
    variables = compiled.init(net, jax.random.key(0), images, jnp.ones((6, 2), jnp.int32))
    _, updated = jax.jit(
        lambda given: net.apply(given, images, train=True, method="encode", mutable=["batch_stats"])
    )(variables)
    one, other = (jax.tree.leaves(tree["batch_stats"])[0] for tree in (variables, updated))
    assert not np.array_equal(one, other)
