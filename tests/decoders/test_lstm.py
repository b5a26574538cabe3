"""The plain LSTM against a literal NumPy cell, and what it must ignore."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.decoders import LSTM, AttentionLSTM
from capjax.decoders.cell import shift
from capjax.types import Features
from tests.compiled import apply, init

VOCABULARY, DEPTH, HIDDEN, EMBEDDING = 7, 5, 4, 6


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def cell_of(kernel, bias, inputs, c):
    i, f, o, g = np.split(np.concatenate(inputs) @ kernel + bias, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def cell(p, x, h, c):
    kernel = np.concatenate([p["lstm_embedding"], p["lstm_recurrent"]])
    return cell_of(kernel, p["lstm_bias"], [x, h], c)


@pytest.mark.parametrize(
    "fields",
    [
        {"inject": "input"},
        {"inject": "state"},
        {"inject": "every"},
        {"inject": "merge", "merged": 3},
    ],
    ids=lambda fields: fields["inject"],
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
    hidden, attention = apply(decoder, weights, image, jnp.asarray(tokens))
    assert attention is None
    for b in range(2):
        mean = np.asarray(image.positions[b, 0]).mean(0)
        zero = np.zeros(HIDDEN)
        if inject == "input":
            h, c = cell(p, mean @ p["image_input_kernel"] + p["image_input_bias"], zero, zero)
        elif inject == "every":
            h, c = zero, zero
        elif inject == "merge":
            h, c = zero, zero
            seen = np.maximum(mean @ p["image_merge_kernel"] + p["image_merge_bias"], 0)
        else:
            h = np.tanh(mean @ p["image_h_kernel"] + p["image_h_bias"])
            c = np.tanh(mean @ p["image_c_kernel"] + p["image_c_bias"])
        previous = p["start"]
        if inject == "every":
            joined = np.concatenate([p["lstm_embedding"], p["lstm_image"], p["lstm_recurrent"]])
        for t in range(3):
            if inject == "every":  # eq 3 of Ramanishka et al. 2017: h_t = g(y_(t-1), h_(t-1), z)
                h, c = cell_of(joined, p["lstm_bias"], [previous, mean, h], c)
            else:
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
    weights = init(decoder, jax.random.key(1), image, tokens)
    one, _ = apply(decoder, weights, image, tokens)
    two, _ = apply(decoder, weights, flat, tokens)
    np.testing.assert_allclose(one, two, atol=1e-6)


INJECTIONS = [
    {"inject": "input"},
    {"inject": "state"},
    {"inject": "every"},
    {"inject": "every", "start_input": "zero"},
    {"inject": "merge"},
    {"inject": "merge", "merged": 3},
]


def scan_of_steps(decoder, weights, image, tokens):
    carry, memory = apply(decoder, weights, image, method="start")

    def body(carry, token):
        carry, hidden, attention = apply(decoder, weights, carry, token, memory, method="step")
        assert attention is None
        return carry, hidden

    _, hidden = jax.lax.scan(body, carry, shift(tokens).T)
    return hidden.swapaxes(0, 1)


@pytest.mark.parametrize(
    "fields", INJECTIONS, ids=lambda fields: "-".join(map(str, fields.values()))
)
def test_values_and_all_gradients_are_those_of_a_scan_of_steps(fields):
    decoder = LSTM(
        VOCABULARY, DEPTH, hidden=HIDDEN, embedding=EMBEDDING, dtype=jnp.float64, **fields
    )
    generator = np.random.default_rng(1)
    image = Features.from_grid(jnp.asarray(generator.normal(size=(2, 2, 2, 3, DEPTH))))
    image = image.replace(valid=image.valid.at[1, 1, 2:].set(False))
    tokens = jnp.array([[3, 5, 2, 0], [1, 1, 4, 6]])
    shapes = jax.eval_shape(decoder.init, jax.random.key(0), image, tokens)
    weights = jax.tree.map(lambda s: jnp.asarray(generator.normal(size=s.shape)), shapes)

    def value_and_gradients(force):
        def value(weights, positions):
            hidden = force(weights, image.replace(positions=positions), tokens)
            waves = jnp.cos(jnp.arange(hidden.size, dtype=hidden.dtype)).reshape(hidden.shape)
            return jnp.sum(hidden * waves), hidden

        return jax.jit(jax.value_and_grad(value, (0, 1), has_aux=True))(weights, image.positions)

    called = value_and_gradients(lambda *given: apply(decoder, *given)[0])
    stepped = value_and_gradients(functools.partial(scan_of_steps, decoder))
    assert called[0][1].shape == (2, 4, fields.get("merged", HIDDEN))
    for ours, theirs in zip(jax.tree.leaves(called), jax.tree.leaves(stepped), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)
    positions = stepped[1][1]
    assert np.abs(positions[1, 1, :2]).min() > 0.0
    np.testing.assert_array_equal(positions[1, 1, 2:], 0.0)


def test_the_image_beside_every_word_is_attention_that_is_even():
    """`AttentionLSTM` with equal scores, no gate and a state of zero, with the same kernels."""
    sizes = {"hidden": HIDDEN, "embedding": EMBEDDING, "dtype": jnp.float64}
    plain = LSTM(VOCABULARY, DEPTH, inject="every", **sizes)
    attentive = AttentionLSTM(
        VOCABULARY,
        DEPTH,
        attention=3,
        gate="none",
        output="linear",
        start_input="token",
        **sizes,
    )
    image = Features.from_grid(jax.random.normal(jax.random.key(0), (2, 2, 2, DEPTH)))
    tokens = jnp.array([[3, 5, 2], [4, 4, 2]])
    weights = plain.init(jax.random.key(1), image, tokens)["params"]
    shapes = jax.eval_shape(attentive.init, jax.random.key(2), image, tokens)["params"]
    renamed = {**weights, "lstm_context": weights["lstm_image"]}
    given = {
        name: renamed.get(name, jnp.zeros(leaf.shape, leaf.dtype)) for name, leaf in shapes.items()
    }
    even, attention = apply(attentive, {"params": given}, image, tokens)
    np.testing.assert_allclose(attention, 1 / 4)
    hidden, _ = plain.apply({"params": weights}, image, tokens)
    np.testing.assert_allclose(hidden, even, atol=1e-10)


def test_the_weights_of_older_models_are_what_they_were():
    """Names and shapes that models saved before `inject="every"` hold."""
    image = Features.from_grid(jnp.zeros((1, 1, 1, DEPTH)))
    sizes = {"hidden": HIDDEN, "embedding": EMBEDDING}
    shapes = jax.eval_shape(
        LSTM(VOCABULARY, DEPTH, **sizes).init, jax.random.key(0), image, jnp.array([[1]])
    )
    assert {name: leaf.shape for name, leaf in shapes["params"].items()} == {
        "embedding": (VOCABULARY, EMBEDDING),
        "start": (EMBEDDING,),
        "image_input_kernel": (DEPTH, EMBEDDING),
        "image_input_bias": (EMBEDDING,),
        "lstm_embedding": (EMBEDDING, 4 * HIDDEN),
        "lstm_recurrent": (HIDDEN, 4 * HIDDEN),
        "lstm_bias": (4 * HIDDEN,),
        "head_kernel": (HIDDEN, VOCABULARY),
        "head_bias": (VOCABULARY,),
    }


def test_an_unknown_injection_is_named():
    decoder = LSTM(VOCABULARY, DEPTH, inject="attention")
    image = Features.from_grid(jnp.zeros((1, 1, 1, DEPTH)))
    with pytest.raises(ValueError, match="input, state, every, merge"):
        decoder.init(jax.random.key(0), image, jnp.array([[1]]))
