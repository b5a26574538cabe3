"""Self-critical training: the gradient is that of the exact expected reward."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from capjax.decoding import Greedy, Sample, generate
from capjax.train import sharding
from capjax.train.self_critical import (
    SelfCriticalConfig,
    leave_one_out,
    make_self_critical_step,
    sequence_loss,
)
from capjax.train.state import create_state
from tests.train.test_step_options import features_batch, net
from tests.train.toy import make_batch

EOS, UNUSED, WORDS, LONGEST = 0, 1, 4, 2


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def captions():
    """All captions of words 2, 3 and the end token, of at most two tokens; with their lengths."""
    found = [(EOS, EOS)]
    found += list(itertools.product((2, 3), (EOS, 2, 3)))
    lengths = [1] + [2] * (len(found) - 1)
    return np.array(found), np.array(lengths)


def test_the_gradient_is_that_of_the_expected_reward(float64):
    """Every pair of draws, weighed by its probability: the baseline cancels exactly."""
    tokens, lengths = captions()
    random = np.random.default_rng(0)
    rewards = random.normal(size=len(tokens)) * 3
    first, second = random.normal(size=WORDS), random.normal(size=(WORDS, WORDS))

    def logits_of(params):
        first, second = params
        return jnp.stack([jnp.stack([first, second[a]]) for a, _ in tokens])

    def probabilities(params):
        allowed = logits_of(params).at[..., UNUSED].set(-jnp.inf)
        logs = jax.nn.log_softmax(allowed)
        own = jnp.take_along_axis(logs, jnp.asarray(tokens)[..., None], axis=-1)[..., 0]
        return jnp.exp(jnp.where(np.arange(LONGEST) < lengths[:, None], own, 0.0).sum(axis=1))

    params = (jnp.asarray(first), jnp.asarray(second))
    np.testing.assert_allclose(probabilities(params).sum(), 1.0, atol=1e-12)
    exact = jax.grad(lambda p: -jnp.sum(probabilities(p) * rewards))(params)

    chance = np.asarray(probabilities(params))

    def surrogate(params):
        logits = logits_of(params)
        total = 0.0
        for i, j in itertools.product(range(len(tokens)), repeat=2):
            pair = np.array([i, j])
            advantages = rewards[pair] - leave_one_out(rewards[pair][None])[0]
            total += (
                chance[i]
                * chance[j]
                * sequence_loss(
                    logits[pair],
                    jnp.asarray(tokens[pair]),
                    jnp.asarray(lengths[pair]),
                    jnp.asarray(advantages),
                    reduce="caption",
                    suppress=(UNUSED,),
                )
            )
        return total

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9),
        jax.jit(jax.grad(surrogate))(params),
        exact,
    )


def test_leave_one_out_is_the_mean_of_the_others():
    rewards = np.array([[1.0, 2.0, 6.0]])
    np.testing.assert_allclose(leave_one_out(rewards), [[4.0, 3.5, 1.5]])


def run(config, reward, *, batches=1, rate=0.5, average_decay=0.0):
    model = net()
    batch = make_batch(0)
    variables = model.init(jax.random.key(1), batch["image"], batch["tokens"])
    optimizer = optax.sgd(rate)
    state = create_state(variables, optimizer, train_encoder=False, key=jax.random.key(2))
    limits = {"eos": 2, "max_len": 5, "suppress": (0, 1)}

    def drawing(method):
        def draw(variables, features, keys):
            found = generate(model, variables, features, method, keys=keys, **limits)
            return found.tokens, found.lengths

        return draw

    step = make_self_critical_step(
        model,
        optimizer,
        config,
        draw=drawing(Sample(count=max(1, config.samples))),
        greedy=drawing(Greedy()),
        reward=reward,
        reduce="caption",
        suppress=(0, 1),
        schedule=optax.constant_schedule(rate),
        grid=(2, 3),
        mesh=sharding.data_mesh(jax.devices()[:2]),
    )
    state = jax.device_put(state, sharding.replicated(sharding.data_mesh(jax.devices()[:2])))
    found = []
    for number in range(batches):
        placed = sharding.place_batch(features_batch(number), sharding.data_mesh(jax.devices()[:2]))
        state, metrics = step(state, placed)
        found.append({name: float(value) for name, value in metrics.items()})
    return state, found


def count_of_fives(ids, tokens, lengths):
    inside = np.arange(tokens.shape[-1]) < lengths[..., None]
    return ((tokens == 5) & inside).sum(axis=-1).astype(float)


@pytest.mark.parametrize("baseline", ["greedy", "mean"])
def test_the_reward_grows(baseline):
    config = SelfCriticalConfig(samples=4, baseline=baseline)
    state, found = run(config, count_of_fives, batches=25)
    rewards = [row["reward"] for row in found]
    assert np.mean(rewards[-3:]) > 3.0 > 1.5 > np.mean(rewards[:3])
    assert int(state.step) == 25


def test_a_reward_that_never_differs_teaches_nothing():
    state, (metrics,) = run(
        SelfCriticalConfig(samples=3), lambda ids, tokens, lengths: np.ones(lengths.shape)
    )
    assert metrics["gradient_norm"] == 0.0
    assert metrics["advantage"] == 0.0


def test_the_reward_is_given_the_captions_of_the_batch():
    seen = []

    def reward(ids, tokens, lengths):
        seen.append((ids, tokens.shape, lengths.shape))
        return np.zeros(lengths.shape)

    run(SelfCriticalConfig(samples=2, baseline="greedy"), reward)
    np.testing.assert_array_equal(seen[0][0], features_batch()["id"])
    assert [entry[1:] for entry in seen] == [((8, 2, 5), (8, 2)), ((8, 1, 5), (8, 1))]


def test_settings_without_meaning_are_refused():
    with pytest.raises(ValueError, match="2 or more"):
        SelfCriticalConfig(samples=1).check()
    with pytest.raises(ValueError, match="greedy, mean"):
        SelfCriticalConfig(samples=2, baseline="median").check()
