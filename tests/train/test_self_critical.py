"""Self-critical training: the gradient is that of the exact expected reward."""

import functools
import itertools
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from capjax.decoding import Greedy, Sample, generate
from capjax.train import sharding
from capjax.train.arithmetic import count_flops
from capjax.train.self_critical import (
    SelfCriticalConfig,
    leave_one_out,
    make_self_critical_step,
    sequence_loss,
)
from capjax.train.state import create_state
from tests import compiled
from tests.train.test_step_options import features_batch, net
from tests.train.toy import data_mesh, make_batch

pytestmark = pytest.mark.devices

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
    exact = jax.jit(jax.grad(lambda p: -jnp.sum(probabilities(p) * rewards)))(params)

    chance = np.asarray(probabilities(params))
    pairs = np.array(list(itertools.product(range(len(tokens)), repeat=2)))

    def surrogate(params):
        loss = functools.partial(sequence_loss, reduce="caption", suppress=(UNUSED,))
        losses = jax.vmap(loss)(
            logits_of(params)[pairs],
            jnp.asarray(tokens[pairs]),
            jnp.asarray(lengths[pairs]),
            jnp.asarray(rewards[pairs] - leave_one_out(rewards[pairs])),
        )
        return jnp.sum(chance[pairs].prod(axis=1) * losses)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9),
        jax.jit(jax.grad(surrogate))(params),
        exact,
    )


def test_leave_one_out_is_the_mean_of_the_others():
    rewards = np.array([[1.0, 2.0, 6.0]])
    np.testing.assert_allclose(leave_one_out(rewards), [[4.0, 3.5, 1.5]])


def build(config, reward, *, rate=0.5, **options):
    """A compiled update, the state before it, and its devices."""
    model = net()
    batch = make_batch(0)
    variables = compiled.init(model, jax.random.key(1), batch["image"], batch["tokens"])
    optimizer = optax.sgd(rate)
    state = create_state(variables, optimizer, train_encoder=False, key=jax.random.key(2))
    mesh = data_mesh(2)
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
        suppress=(0, 1),
        schedule=optax.constant_schedule(rate),
        grid=(2, 3),
        mesh=mesh,
        **{"reduce": "caption", **options},
    )
    return step, jax.device_put(state, sharding.replicated(mesh)), mesh


def run(config, reward, *, batches=1, **options):
    """The state after some updates, and their metrics."""
    step, state, mesh = build(config, reward, **options)
    found = []
    for number in range(batches):
        placed = sharding.place_batch(features_batch(number), mesh)
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


@pytest.mark.parametrize("reduce", ["caption", "token"])
def test_parts_of_a_batch_make_the_same_update(reduce):
    config = SelfCriticalConfig(samples=3)
    whole, (figures,) = run(config, count_of_fives, reduce=reduce)
    parts, (same,) = run(config, count_of_fives, reduce=reduce, accumulate=2)
    assert figures["gradient_norm"] > 1e-3
    close = functools.partial(np.testing.assert_allclose, atol=2e-6)
    jax.tree.map(close, parts.params, whole.params)
    untimed = [{k: v for k, v in each.items() if k != "reward_seconds"} for each in (same, figures)]
    assert untimed[0] == pytest.approx(untimed[1], rel=2e-5, abs=1e-6)


def test_token_and_caption_differ_by_a_factor_of_the_batch():
    """Captions over their tokens, the same for long and short ones."""
    tokens, lengths = captions()
    random = np.random.default_rng(1)
    logits = jnp.asarray(random.normal(size=(len(tokens), LONGEST, WORDS)))
    advantages = jnp.asarray(random.normal(size=len(tokens)))

    def slope(reduce):
        loss = functools.partial(sequence_loss, reduce=reduce)
        return jax.jit(jax.grad(loss))(logits, tokens, lengths, advantages)

    factor = len(tokens) / lengths.sum()
    np.testing.assert_allclose(slope("token"), factor * slope("caption"), atol=1e-6)


def test_the_arithmetic_of_an_update_is_known_and_its_reward_timed():
    config = SelfCriticalConfig(samples=3)  # two loops over places each: 3 and 1, 12 and 4
    step, state, mesh = build(config, count_of_fives)
    batch = sharding.place_batch(features_batch(), mesh)
    known = count_flops(step.trace(state, batch).jaxpr)
    more, *rest = build(SelfCriticalConfig(samples=12), count_of_fives)
    assert 2.5 * known < count_flops(more.trace(rest[0], batch).jaxpr) < 4 * known

    def slow(ids, tokens, lengths):
        time.sleep(0.2)
        return count_of_fives(ids, tokens, lengths)

    _, (metrics,) = run(config, slow)
    assert 0.2 <= metrics["reward_seconds"] < 5.0


def test_settings_without_meaning_are_refused():
    with pytest.raises(ValueError, match="2 or more"):
        SelfCriticalConfig(samples=1).check()
    with pytest.raises(ValueError, match="greedy, mean"):
        SelfCriticalConfig(samples=2, baseline="median").check()
