"""Attention maps come from reading the final tokens, and are those of single decoding steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.explainers import Attention, AttentionChoice
from capjax.types import NO_TOKEN, Features
from tests.explainers.toys import asking, attentive, attentive_net

attention, attention_choice = asking(Attention()), asking(AttentionChoice())


@pytest.fixture(scope="module")
def captioner():
    return attentive()


def features(batch=3, seed=0):
    values = np.random.default_rng(seed).normal(size=(batch, 8, 8, 24))
    return Features.from_grid(jnp.asarray(values, jnp.float32))


def each_word(tokens):
    eye = np.eye(tokens.shape[1], dtype=np.float32)
    return np.broadcast_to(eye, (*tokens.shape, tokens.shape[1]))


TOKENS = np.array([[5, 4, 9, 2, 0], [7, 2, 0, 0, 0], [4, 6, 8, 10, 11]], np.int32)
LENGTHS = np.array([4, 2, 5], np.int32)


def test_word_maps_are_those_of_single_steps(captioner):
    net, variables, seen = captioner.net, captioner.variables, features()
    maps = attention(net, variables, seen, TOKENS, LENGTHS, each_word(TOKENS))
    step_once = jax.jit(functools.partial(net.apply, method="step"))
    carry, memory = jax.jit(functools.partial(net.apply, method="start"))(variables, seen)
    previous = np.full(3, NO_TOKEN, np.int32)
    for step in range(5):
        carry, _, expected = step_once(variables, carry, previous, memory)
        real = step < LENGTHS
        np.testing.assert_allclose(maps[real, step], expected[real], atol=1e-6)
        assert not np.any(maps[~real, step])
        previous = TOKENS[:, step]


def test_phrase_map_is_the_mean_of_its_words_and_sums_to_one(captioner):
    net, variables, seen = captioner.net, captioner.variables, features()
    words = attention(net, variables, seen, TOKENS, LENGTHS, each_word(TOKENS))
    weights = np.zeros((3, 1, 5), np.float32)
    weights[:, 0, :2] = 1
    phrase = attention(net, variables, seen, TOKENS, LENGTHS, weights)
    np.testing.assert_allclose(phrase[:, 0], (words[:, 0] + words[:, 1]) / 2, atol=1e-6)
    np.testing.assert_allclose(phrase.sum((2, 3)), 1, atol=1e-5)


def test_padding_and_batch_change_nothing(captioner):
    net, variables, seen = captioner.net, captioner.variables, features()
    maps = attention(net, variables, seen, TOKENS, LENGTHS, each_word(TOKENS))
    for row in range(3):
        alone = Features.from_grid(seen.positions[row : row + 1].reshape(1, 8, 8, 24))
        own = TOKENS[row : row + 1, : LENGTHS[row]]
        longer = np.pad(own, ((0, 0), (0, 3)), constant_values=9)
        single = attention(net, variables, alone, longer, LENGTHS[row : row + 1], each_word(longer))
        count = LENGTHS[row]
        np.testing.assert_allclose(single[0, :count], maps[row, :count], atol=1e-6)


def test_a_decoder_without_attention_is_an_error():
    net = attentive_net(attention=False)
    images, seen = jnp.zeros((1, 64, 64, 3)), features()
    variables = jax.eval_shape(net.init, jax.random.key(0), images, TOKENS[:1])
    with pytest.raises(ValueError, match="LSTM has no attention to show.*gradcam"):
        jax.eval_shape(
            lambda given: attention(net, given, seen, TOKENS, LENGTHS, each_word(TOKENS)),
            variables,
        )


def test_a_choice_is_the_most_attended_position_or_the_sampled_one(captioner):
    seen = features()
    asked = (TOKENS, LENGTHS, each_word(TOKENS))
    maps = np.asarray(attention(captioner.net, captioner.variables, seen, *asked))
    chosen = np.asarray(attention_choice(captioner.net, captioner.variables, seen, *asked))
    for row, length in enumerate(LENGTHS):
        for word in range(length):
            expected = np.zeros(64)
            expected[maps[row, word].argmax()] = 1
            np.testing.assert_array_equal(chosen[row, word].ravel(), expected)
        assert not chosen[row, length:].any()
    sampled = captioner.with_reading("sample")
    drawn = np.asarray(attention_choice(sampled.net, captioner.variables, seen, *asked))
    real = drawn[0, : LENGTHS[0]].reshape(LENGTHS[0], -1)
    np.testing.assert_array_equal(np.sort(real, axis=1)[:, -2:], [[0, 1]] * LENGTHS[0])
    assert not np.array_equal(drawn, chosen)
    assert sampled.hash != captioner.hash


def test_readings_that_do_not_exist_are_refused(captioner):
    with pytest.raises(ValueError, match="expected, argmax, sample"):
        captioner.with_reading("best")
