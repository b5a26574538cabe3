"""Losses against their closed forms and against sums written out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax import rng
from capjax.ops import attention_statistics
from capjax.train.objectives import losses
from capjax.train.objectives.losses import LossConfig
from capjax.train.objectives.objective import lone_positions
from capjax.types import Features

ALPHA = jnp.asarray([[[[0.7, 0.2, 0.1]], [[0.1, 0.6, 0.3]]]])  # [B=1 T=2 F=1 P=3]


@pytest.mark.parametrize(
    ("reduce", "tau", "expected"),
    [("sum", 1.0, 0.44), ("mean", 1.0, 0.146667), ("sum", 2 / 3, 0.106667)],
)
def test_doubly_stochastic_golden(reduce, tau, expected):
    value = losses.doubly_stochastic(ALPHA, jnp.ones((1, 2)), reduce=reduce, tau=tau)
    assert value == pytest.approx(expected, abs=1e-6)


def test_doubly_stochastic_gradient_is_minus_two_times_what_is_missing():
    gradient = jax.grad(losses.doubly_stochastic)(ALPHA, jnp.ones((1, 2)))
    missing = 1.0 - ALPHA.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(gradient, np.broadcast_to(-2 * missing, ALPHA.shape), atol=1e-6)


@pytest.mark.parametrize("steps", [1, 10, 196, 300])
def test_doubly_stochastic_lower_bound(steps):
    """C steps hand out C units over L positions: at best (L - C)^2 / L, by uniform maps."""
    cells = 196
    bound = (cells - steps) ** 2 / cells
    mask = jnp.ones((1, steps))
    uniform = jnp.full((1, steps, 1, cells), 1 / cells)
    assert losses.doubly_stochastic(uniform, mask) == pytest.approx(bound, rel=1e-4, abs=1e-4)
    energy = 3 * jax.random.normal(jax.random.key(steps), uniform.shape)
    assert losses.doubly_stochastic(jax.nn.softmax(energy), mask) > bound
    if steps == 10:
        assert bound == pytest.approx(176.51, abs=0.01)


def random_batch(padded: int):
    """Two captions of 2 and 4 tokens; what is in the padding depends on `padded`."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(2, 4, 5))
    tokens = random.integers(0, 5, (2, 4))
    attention = random.dirichlet(np.ones(6), (2, 4)).reshape(2, 4, 2, 3)
    extra = padded - 4
    noise = np.random.default_rng(padded)
    logits = np.concatenate([logits, noise.normal(size=(2, extra, 5))], axis=1)
    tokens = np.concatenate([tokens, noise.integers(0, 5, (2, extra))], axis=1)
    more = noise.dirichlet(np.ones(6), (2, extra)).reshape(2, extra, 2, 3)
    attention = np.concatenate([attention, more], axis=1)
    return logits, tokens, attention, np.asarray([2, 4])


def test_cross_entropy_is_the_mean_over_real_tokens_or_captions():
    logits, tokens, _, lengths = random_batch(4)
    mask = losses.length_mask(jnp.asarray(lengths), 4)
    nll = [
        [-np.log(np.exp(logits[b, t, tokens[b, t]]) / np.exp(logits[b, t]).sum()) for t in range(n)]
        for b, n in enumerate(lengths)
    ]
    token = losses.cross_entropy(jnp.asarray(logits), jnp.asarray(tokens), mask)
    caption = losses.cross_entropy(jnp.asarray(logits), jnp.asarray(tokens), mask, reduce="caption")
    assert token == pytest.approx((sum(nll[0]) + sum(nll[1])) / 6, rel=1e-5)
    assert caption == pytest.approx((sum(nll[0]) + sum(nll[1])) / 2, rel=1e-5)


def test_label_smoothing_is_the_cross_entropy_with_smoothed_targets():
    logits, tokens, _, _ = random_batch(4)
    target = 0.9 * np.eye(5)[tokens] + 0.1 / 5
    log_probs = np.asarray(jax.nn.log_softmax(jnp.asarray(logits)))
    got = losses.token_losses(jnp.asarray(logits), jnp.asarray(tokens), label_smoothing=0.1)
    np.testing.assert_allclose(got, -(target * log_probs).sum(-1), rtol=1e-5)


@pytest.mark.parametrize("reduce", ["token", "caption"])
def test_padding_changes_no_loss_and_no_statistic(reduce):
    values = []
    for padded in (4, 9):
        logits, tokens, attention, lengths = (jnp.asarray(each) for each in random_batch(padded))
        mask = losses.length_mask(lengths, padded)
        values.append(
            [
                losses.cross_entropy(logits, tokens, mask, reduce=reduce, label_smoothing=0.1),
                losses.doubly_stochastic(attention, mask),
                attention_statistics.entropy(attention, mask).mean(),
                attention_statistics.mean_pairwise_distance(attention, mask).mean(),
            ]
        )
    np.testing.assert_allclose(values[0], values[1], rtol=1e-6)


def test_attention_statistics_at_their_ends():
    mask = jnp.ones((1, 3))
    uniform = jnp.full((1, 3, 2, 4), 1 / 8)
    apart = jnp.eye(8)[None, :3].reshape(1, 3, 2, 4)
    np.testing.assert_allclose(attention_statistics.entropy(uniform, mask), np.log(8), rtol=1e-6)
    np.testing.assert_allclose(attention_statistics.entropy(apart, mask), 0.0)
    np.testing.assert_allclose(attention_statistics.mean_pairwise_distance(uniform, mask), 0.0)
    np.testing.assert_allclose(attention_statistics.mean_pairwise_distance(apart, mask), 1.0)
    one = attention_statistics.mean_pairwise_distance(apart, jnp.asarray([[1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(one, 0.0)
    # Total variation of the golden pair: (.6 + .4 + .2) / 2.
    pair = attention_statistics.mean_pairwise_distance(ALPHA, jnp.ones((1, 2)))
    np.testing.assert_allclose(pair, 0.6, rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"reduce": "word"}, "token"),
        ({"doubly_stochastic_reduce": "max"}, "mean"),
        ({"label_smoothing": 1.0}, r"\[0, 1\)"),
    ],
)
def test_meaningless_settings_are_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        LossConfig(**changes)


def test_a_share_of_captions_sees_one_valid_position():
    features = Features.from_grid(jnp.ones((400, 2, 2, 3, 1)))
    features = features.replace(valid=features.valid.at[:, 1, 3:].set(False))
    keys = rng.per_example(jax.random.key(0), jnp.arange(400))
    lone = jax.jit(lambda features, keys: lone_positions(features, 0.25, keys))
    kept = np.asarray(lone(features, keys).valid)
    counts = kept.sum(axis=(1, 2))
    assert set(counts) == {1, 9}
    assert (counts == 1).sum() == pytest.approx(100, abs=30)
    chosen = kept[counts == 1].sum(axis=0)
    assert not chosen[1, 3:].any() and (chosen[0] > 0).all()
    again = lone(jax.tree.map(lambda leaf: leaf[7:9], features), keys[7:9])
    np.testing.assert_array_equal(again.valid, kept[7:9])
