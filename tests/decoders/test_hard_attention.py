"""Hard attention: what is chosen, by which draw, and that every way of running it agrees."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax import rng
from capjax.decoders import AttentionLSTM, selection
from capjax.decoders.selection import Draws
from capjax.types import NO_TOKEN, Features

VOCABULARY, DEPTH, TOKENS = 7, 5, 4


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def build(**fields):
    fields = {"hidden": 4, "attention": 3, "embedding": 6, "dtype": jnp.float64, **fields}
    return AttentionLSTM(VOCABULARY, DEPTH, **fields)


def problem(decoder, batch=3, grid=(2, 3)):
    values = np.random.default_rng(0).normal(size=(batch, *grid, DEPTH))
    features = Features.from_grid(jnp.asarray(values))
    tokens = jnp.asarray(np.random.default_rng(1).integers(0, VOCABULARY, (batch, TOKENS)))
    shapes = jax.eval_shape(decoder.init, jax.random.key(0), features, tokens)
    random = np.random.default_rng(2)
    return (
        jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape)), shapes),
        features,
        tokens,
    )


def stepped(decoder, variables, features, tokens):
    carry, memory = decoder.apply(variables, features, method="start")
    previous = jnp.concatenate([jnp.full((len(tokens), 1), NO_TOKEN), tokens[:, :-1]], axis=1)
    hidden, attention = [], []
    for word in previous.T:
        carry, out, alpha = decoder.apply(variables, carry, word, memory, method="step")
        hidden.append(out)
        attention.append(alpha)
    return jnp.stack(hidden, axis=1), jnp.stack(attention, axis=1)


@pytest.mark.parametrize("reading", ["expected", "argmax", "sample"])
@pytest.mark.parametrize("attend", ["positions", "frames"])
def test_teacher_forcing_is_a_scan_of_steps(reading, attend):
    decoder = build(hard=True, reading=reading, attend=attend)
    variables, features, tokens = problem(decoder)
    if attend == "frames":
        features = dataclasses.replace(
            features,
            positions=features.positions.reshape(3, 3, 2, DEPTH),
            valid=features.valid.reshape(3, 3, 2),
            grid=(1, 2),
        )
    for ours, theirs in zip(
        decoder.apply(variables, features, tokens),
        stepped(decoder, variables, features, tokens),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_argmax_reads_the_most_attended_position_and_nothing_else():
    """What no step chooses may be anything: the states do not change."""
    decoder = build(hard=True, reading="argmax", init_layers=1)
    variables, features, tokens = problem(decoder, batch=1)
    _, memory = decoder.apply(variables, features, method="start")
    carry = (jnp.ones((1, 4)), jnp.ones((1, 4)))
    _, hidden, alpha = decoder.apply(variables, carry, tokens[:, 0], memory, method="step")
    best = int(jnp.argmax(alpha))
    changed = memory.values.at[:, np.arange(6) != best].add(100.0)
    again = memory.replace(values=changed)
    _, same, _ = decoder.apply(variables, carry, tokens[:, 0], again, method="step")
    np.testing.assert_array_equal(hidden, same)
    lone = memory.replace(values=memory.values.at[:, best].add(1.0))
    _, other, _ = decoder.apply(variables, carry, tokens[:, 0], lone, method="step")
    assert np.abs(hidden - other).max() > 1e-3


def test_one_position_makes_soft_and_hard_the_same():
    soft, hard = build(), build(hard=True, expected_share=0.0)
    variables, features, tokens = problem(soft, grid=(1, 1))
    keys = rng.per_example(jax.random.key(3), jnp.arange(3))
    one = soft.apply(variables, features, tokens, keys)
    other = hard.apply(variables, features, tokens, keys)
    np.testing.assert_allclose(one[0], other[0], atol=1e-12)


def test_draws_follow_alpha_and_belong_to_the_example():
    alpha = jnp.asarray([0.5, 0.3, 0.2, 0.0])
    keys = rng.per_example(jax.random.key(0), jnp.arange(20_000))
    draws = selection.training_draws(keys, 2, 4, 0.3, "image")
    chosen = selection.choose(jnp.broadcast_to(alpha, draws.noise.shape), draws.noise)
    np.testing.assert_allclose(chosen.mean((0, 1)), alpha, atol=0.01)
    assert abs(float(draws.expected.mean()) - 0.3) < 0.01
    later = selection.training_draws(keys[5:9], 3, 4, 0.3, "image")  # other batch, more words
    np.testing.assert_array_equal(later.noise[:2], draws.noise[:, 5:9])
    np.testing.assert_array_equal(later.expected, draws.expected[5:9])
    together = selection.training_draws(keys[:50], 1, 4, 0.5, "batch").expected
    assert len(np.unique(together)) == 1


def test_captions_that_read_the_expectation_are_those_of_soft_attention():
    hard, soft = build(hard=True, expected_share=0.5), build()
    variables, features, tokens = problem(hard, batch=8)
    keys = rng.per_example(jax.random.key(5), jnp.arange(8))
    (states, _), found = hard.apply(variables, features, tokens, keys, mutable=["selection"])
    expected = np.asarray(found["selection"]["expected"][0])
    assert 0 < expected.sum() < 8
    (reference, alpha) = soft.apply(variables, features, tokens, keys)
    np.testing.assert_allclose(states[expected], reference[expected], atol=1e-12)
    chosen = found["selection"]["chosen"][0]
    np.testing.assert_allclose(chosen[expected], alpha[expected], atol=1e-12)
    drawn = np.asarray(chosen[~expected]).reshape(-1, 6)
    np.testing.assert_array_equal(
        np.sort(drawn, axis=1)[:, -2:], np.tile([0.0, 1.0], (len(drawn), 1))
    )


def test_the_backward_pass_is_that_of_a_plain_loop():
    """The hand-written gradient with mixed draws against autodiff of the same recurrence."""
    from capjax.decoders.recurrence import recurrence

    decoder = build(hard=True)
    variables, features, tokens = problem(decoder)
    draws = selection.training_draws(
        rng.per_example(jax.random.key(1), jnp.arange(3)), TOKENS, 6, 0.5, "image"
    )
    draws = Draws(draws.noise, jnp.asarray([True, False, False]))
    bound = decoder.bind(variables)
    inputs = jnp.asarray(np.random.default_rng(4).normal(size=(TOKENS, 3, 16)))
    _, memory = bound.start(features)
    weights = bound._recurrent_weights()
    mixing = [
        np.random.default_rng(9).normal(size=shape)
        for shape in ((TOKENS, 3, 4), (TOKENS, 3, 5), (TOKENS, 3, 6))
    ]

    def loss_of(outputs):
        return sum(jnp.sum(value * mix) for value, mix in zip(outputs[:3], mixing, strict=True))

    def ours(weights, inputs, keys, values):
        carry = (jnp.zeros((3, 4)), jnp.zeros((3, 4)))
        return loss_of(
            recurrence(
                weights,
                inputs,
                carry,
                keys,
                values,
                memory.valid,
                activation="tanh",
                dtype=jnp.float64,
                draws=draws,
            )
        )

    def plain(weights, inputs, keys, values):
        from capjax.decoders import cell

        h, c = jnp.zeros((3, 4)), jnp.zeros((3, 4))
        found = []
        for word, noise in zip(inputs, draws.noise, strict=True):
            query, gate, recurrent = jnp.split(h @ weights.state, (3, 4), axis=1)
            alpha = jax.nn.softmax(jnp.tanh(keys + query[:, None]) @ weights.score)
            one = jax.nn.one_hot(jnp.argmax(jnp.log(alpha) + noise, axis=1), 6)
            read = jnp.where(draws.expected[:, None], alpha, jax.lax.stop_gradient(one))
            context = jnp.einsum("bl,bld->bd", read, values)
            context = context * jax.nn.sigmoid(gate + weights.gate_bias[None])
            h, c = cell.lstm(word + recurrent + context @ weights.context, c)
            found.append((h, context, alpha))
        return loss_of([jnp.stack(each) for each in zip(*found, strict=True)])

    arguments = (weights, inputs, memory.keys, memory.values)
    (value, gradients), (expected, slopes) = (
        jax.jit(jax.value_and_grad(each, argnums=(0, 1, 2, 3)))(*arguments)
        for each in (ours, plain)
    )
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), gradients, slopes
    )
