"""The plain LSTM against a literal NumPy cell, and what it must ignore."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.decoders import LSTM
from capjax.types import NO_TOKEN, Features

VOCABULARY, DEPTH, HIDDEN, EMBEDDING = 7, 5, 4, 6


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def cell(p, x, h, c):
    gates = x @ p["lstm_embedding"] + h @ p["lstm_recurrent"] + p["lstm_bias"]
    i, f, o, g = np.split(gates, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


@pytest.mark.parametrize(
    "fields", [{"inject": "input"}, {"inject": "state"}, {"inject": "merge", "merged": 3}]
)
def test_matches_a_numpy_loop(fields):
    inject = fields["inject"]
    decoder = LSTM(
        VOCABULARY, DEPTH, hidden=HIDDEN, embedding=EMBEDDING, dtype=jnp.float64, **fields
    )
    generator = np.random.default_rng(0)
    image = Features.from_grid(jnp.asarray(generator.normal(size=(2, 2, 3, DEPTH))))
    tokens = np.array([[3, 5, 2], [1, 1, 4]])
    shapes = jax.eval_shape(decoder.init, jax.random.key(0), image, jnp.asarray(tokens))
    weights = jax.tree.map(lambda s: jnp.asarray(generator.normal(size=s.shape)), shapes)
    p = jax.tree.map(np.asarray, weights["params"])
    hidden, attention = decoder.apply(weights, image, jnp.asarray(tokens))
    assert attention is None
    for b in range(2):
        mean = np.asarray(image.positions[b, 0]).mean(0)
        zero = np.zeros(HIDDEN)
        if inject == "input":
            h, c = cell(p, mean @ p["image_input_kernel"] + p["image_input_bias"], zero, zero)
        elif inject == "merge":
            h, c = zero, zero
            seen = np.maximum(mean @ p["image_merge_kernel"] + p["image_merge_bias"], 0)
        else:
            h = np.tanh(mean @ p["image_h_kernel"] + p["image_h_bias"])
            c = np.tanh(mean @ p["image_c_kernel"] + p["image_c_bias"])
        previous = p["start"]
        for t in range(3):
            h, c = cell(p, previous, h, c)
            read = h
            if inject == "merge":
                read = np.maximum((h + seen) @ p["merge_kernel"] + p["merge_bias"], 0)
            np.testing.assert_allclose(hidden[b, t], read, atol=1e-10)
            previous = p["embedding"][tokens[b, t]]


def test_sees_nothing_but_the_pooled_descriptor():
    decoder = LSTM(VOCABULARY, DEPTH, hidden=HIDDEN, embedding=EMBEDDING, dtype=jnp.float64)
    image = Features.from_grid(jax.random.normal(jax.random.key(0), (1, 2, 2, DEPTH)))
    flat = image.replace(positions=jnp.broadcast_to(image.pooled, image.positions.shape))
    tokens = jnp.array([[3, 5]])
    weights = decoder.init(jax.random.key(1), image, tokens)
    one, _ = decoder.apply(weights, image, tokens)
    two, _ = decoder.apply(weights, flat, tokens)
    np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("merged", [0, 3])
def test_merged_steps_equal_the_call(merged):
    decoder = LSTM(
        VOCABULARY,
        DEPTH,
        hidden=HIDDEN,
        embedding=EMBEDDING,
        inject="merge",
        merged=merged,
        dtype=jnp.float64,
    )
    image = Features.from_grid(jax.random.normal(jax.random.key(0), (2, 2, 2, DEPTH)))
    tokens = jnp.array([[3, 5, 2], [4, 4, 2]])
    weights = decoder.init(jax.random.key(1), image, tokens)
    hidden, _ = decoder.apply(weights, image, tokens)
    assert hidden.shape == (2, 3, merged or HIDDEN)
    carry, memory = decoder.apply(weights, image, method="start")
    previous = jnp.full((2,), NO_TOKEN)
    for t in range(3):
        carry, seen, _ = decoder.apply(weights, carry, previous, memory, method="step")
        np.testing.assert_allclose(seen, hidden[:, t], atol=1e-6)
        previous = tokens[:, t]


def test_an_unknown_injection_is_named():
    decoder = LSTM(VOCABULARY, DEPTH, inject="attention")
    image = Features.from_grid(jnp.zeros((1, 1, 1, DEPTH)))
    with pytest.raises(ValueError, match="input, state, merge"):
        decoder.init(jax.random.key(0), image, jnp.array([[1]]))
