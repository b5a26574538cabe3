"""The policy gradient of hard attention against the exact expectation over all choices."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from capjax.captioner import CaptionNet
from capjax.decoders import AttentionLSTM, selection
from capjax.decoders.recurrence import recurrence
from capjax.decoders.selection import Draws
from capjax.encoders import ConvNet
from capjax.train.objectives.losses import LossConfig, caption_costs
from capjax.train.objectives.objective import make_objective
from capjax.train.objectives.reinforce import next_baseline, policy_terms
from capjax.train.state import BASELINE, create_state
from capjax.types import Features

VOCABULARY, POSITIONS, TOKENS = 5, 3, 2


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def tiny():
    decoder = AttentionLSTM(
        *(VOCABULARY, 4, 3, 2, 3),
        hard=True,
        expected_share=0.0,
        output="linear",
        dtype=jnp.float64,
    )
    random = np.random.default_rng(0)
    positions = random.normal(size=(1, 1, POSITIONS, 4)).astype(np.float32)  # as caches hold them
    features = Features.from_grid(jnp.asarray(positions))
    tokens = jnp.asarray([[2, 4]])
    shapes = jax.eval_shape(decoder.init, jax.random.key(0), features, tokens)
    params = jax.tree.map(lambda leaf: jnp.asarray(random.normal(size=leaf.shape)), shapes)
    return decoder, params, features, tokens


def costs_and_attention(params, decoder, features, tokens, choice, expected=False):
    """Cost [1] and alpha [1 T 1 P] when word t reads position choice[t]."""
    noise = jnp.where(jnp.arange(POSITIONS)[None] == jnp.asarray(choice)[:, None], 0.0, -jnp.inf)
    bound = decoder.bind(params)
    carry, memory = bound.start(features)
    embedded = bound._embed(jnp.concatenate([jnp.full((1, 1), -1), tokens[:, :-1]], axis=1))
    gates = embedded @ bound.lstm_embedding + bound.lstm_bias[None, None]
    outputs = recurrence(
        bound._recurrent_weights(),
        gates.swapaxes(0, 1),
        carry,
        memory.keys,
        memory.values,
        memory.valid,
        activation="tanh",
        dtype=jnp.float64,
        draws=Draws(noise[:, None], jnp.asarray([expected])),
    )
    logits = bound.readout(outputs.states.swapaxes(0, 1))
    costs = caption_costs(logits, tokens, jnp.ones((1, TOKENS)), reduce="caption")
    return (
        costs,
        outputs.alphas.swapaxes(0, 1)[:, :, None],
        outputs.chosen.swapaxes(0, 1)[:, :, None],
    )


ALL = np.array(list(itertools.product(range(POSITIONS), repeat=TOKENS)))


def probability_of(choice, alpha):
    return alpha[0, 0, 0, choice[0]] * alpha[0, 1, 0, choice[1]]


def exact(params, problem):
    """sum_s p(s) c(s), by autodiff through the probabilities of all choices."""

    def share(choice):
        costs, alpha, _ = costs_and_attention(params, *problem, choice)
        return probability_of(choice, alpha) * costs[0]

    return jnp.sum(jax.vmap(share)(ALL))


def estimate(params, problem, baseline):
    """The expectation of the estimator: each choice's surrogate, weighed by its probability."""

    def share(choice):
        costs, alpha, chosen = costs_and_attention(params, *problem, choice)
        probability = jax.lax.stop_gradient(probability_of(choice, alpha))
        policy, _ = policy_terms(
            alpha, chosen, jnp.asarray([False]), jnp.ones((1, TOKENS)), costs, baseline
        )
        return probability * (costs[0] + policy[0])

    return jnp.sum(jax.vmap(share)(ALL))


@pytest.mark.parametrize("baseline", [0.0, 2.5, -40.0])
def test_the_estimator_is_unbiased_whatever_the_baseline(baseline):
    decoder, params, features, tokens = tiny()
    problem = (decoder, features, tokens)
    theirs = jax.jit(jax.grad(lambda p: exact(p, problem)))(params)
    ours = jax.jit(jax.grad(lambda p: estimate(p, problem, jnp.asarray(baseline))))(params)
    assert np.abs(theirs["params"]["attention_score"]).max() > 1e-3
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), ours, theirs)


@pytest.fixture
def gradient_of_objective(monkeypatch):
    """`(choice, **loss) -> value, gradient` of the real objective, told which positions to draw."""
    decoder, params, features, tokens = tiny()
    net = CaptionNet(ConvNet(), decoder, (0.0,) * 3, (1.0,) * 3)
    optimizer = optax.sgd(0.0)
    variables = {"params": {"decoder": params["params"]}}
    start = create_state(variables, optimizer, train_encoder=False, key=jax.random.key(0))
    state = dataclasses.replace(start, step=jnp.asarray(1), moving={BASELINE: jnp.asarray(2.5)})
    batch = {
        "features": features.positions,
        "tokens": tokens,
        "lengths": jnp.asarray([TOKENS]),
        "id": jnp.asarray([0]),
    }

    def told(keys, words, positions, share, scope):
        del keys, scope
        assert share == 0.0 and (words, positions) == (TOKENS, POSITIONS)
        at = jnp.asarray(chosen)[:, None]
        noise = jnp.where(jnp.arange(POSITIONS)[None] == at, 0.0, -jnp.inf)
        return Draws(noise[:, None], jnp.asarray([False]))

    monkeypatch.setattr(selection, "training_draws", told)
    chosen: list[int] = []

    def gradient(choice, **loss):
        chosen[:] = choice
        config = LossConfig(doubly_stochastic=0.0, **loss)
        objective = make_objective(net, config, grid=(1, POSITIONS))
        (value, _), slope = jax.value_and_grad(objective, has_aux=True)(
            state.params, state, batch, jnp.asarray(TOKENS)
        )
        return value, slope["decoder"]

    return gradient


def test_the_objective_is_unbiased(gradient_of_objective):
    """Its gradient for each choice, weighed by the choice's probability."""
    decoder, params, features, tokens = tiny()
    problem = (decoder, features, tokens)
    theirs = jax.jit(jax.grad(lambda p: exact(p, problem)))(params)["params"]

    def weighed(choice):
        _, alpha, _ = costs_and_attention(params, *problem, choice)
        _, slope = gradient_of_objective(choice, reduce="caption", lambda_r=1.0, lambda_e=0.0)
        return jax.tree.map(lambda leaf: probability_of(choice, alpha) * leaf, slope)

    ours = jax.tree.map(lambda leaf: leaf.sum(axis=0), jax.jit(jax.vmap(weighed))(ALL))
    assert np.abs(theirs["attention_score"]).max() > 1e-3
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), ours, theirs)


def test_the_objective_rewards_even_attention(gradient_of_objective):
    decoder, params, features, tokens = tiny()

    def entropy(params):
        _, alpha, _ = costs_and_attention(params, decoder, features, tokens, (0, 2))
        return -jnp.sum(alpha * jnp.log(alpha))

    @jax.jit
    def all_three():
        plain, rewarded = (
            gradient_of_objective((0, 2), reduce="caption", lambda_e=scale) for scale in (0.0, 50.0)
        )
        return jax.value_and_grad(entropy)(params), plain, rewarded

    (even, slope), (without, plain), (value, found) = all_three()
    np.testing.assert_allclose(value - without, -50.0 * even, atol=1e-9)
    jax.tree.map(
        lambda a, b, s: np.testing.assert_allclose(a - b, -50.0 * s, atol=1e-9),
        *(found, plain, slope["params"]),
    )
    after = jax.tree.map(lambda p, g: p - 1e-4 * g, params["params"], found)
    assert entropy({"params": after}) > even


def toy(energies, baseline, choice):
    """G-13: two positions, one word; log p(y | s) = (-1, -2)."""
    alpha = jax.nn.softmax(energies)[None, None, None]
    chosen = jax.nn.one_hot(jnp.asarray([choice]), 2)[None, None]
    costs = jnp.asarray([1.0, 2.0])[jnp.asarray([choice])]
    return policy_terms(alpha, chosen, jnp.asarray([False]), jnp.ones((1, 1)), costs, baseline)


def test_golden_toy():
    energies = jnp.asarray([0.2, -0.1])
    alpha = jax.nn.softmax(energies)
    np.testing.assert_allclose(alpha, (0.574443, 0.425557), atol=1e-6)

    def policy(baseline, choice):
        return jax.grad(lambda e: toy(e, baseline, choice)[0][0])(energies)

    for baseline in (0.0, 1.425557):
        mean = sum(alpha[k] * policy(baseline, k) for k in (0, 1))
        # The cost is minus the golden E, whose gradient is (0.244458, -0.244458).
        np.testing.assert_allclose(mean, (-0.244458, 0.244458), atol=1e-6)
    entropy, slope = jax.value_and_grad(lambda e: toy(e, 0.0, 0)[1][0])(energies)
    np.testing.assert_allclose(entropy, 0.682022, atol=1e-6)
    np.testing.assert_allclose(slope, (-0.073337, 0.073337), atol=1e-6)


def test_a_baseline_near_the_mean_lowers_the_variance_of_the_toy():
    energies = jnp.asarray([0.2, -0.1])
    alpha = jax.nn.softmax(energies)

    def variance(baseline):
        found = [jax.grad(lambda e, k=k: toy(e, baseline, k)[0][0])(energies)[0] for k in (0, 1)]
        mean = sum(a * f for a, f in zip(alpha, found, strict=True))
        return float(sum(a * (f - mean) ** 2 for a, f in zip(alpha, found, strict=True)))

    assert variance(1.425557) < 0.1 * variance(0.0)


def test_no_policy_gradient_where_the_expectation_is_read():
    decoder, params, features, tokens = tiny()

    def policy(params, expected):
        costs, alpha, chosen = costs_and_attention(
            params, decoder, features, tokens, (0, 1), expected
        )
        return policy_terms(
            alpha, chosen, jnp.asarray([expected]), jnp.ones((1, TOKENS)), costs, 0.0
        )[0][0]

    slope = jax.jit(jax.grad(policy), static_argnums=1)
    of_expected = slope(params, True)
    assert all(np.all(np.asarray(leaf) == 0) for leaf in jax.tree.leaves(of_expected))
    of_chosen = slope(params, False)
    assert np.abs(of_chosen["params"]["attention_score"]).max() > 1e-3


def test_the_released_codes_form_of_the_expected_branch_is_zero_too():
    """Its s / alpha is 1 everywhere there, and a constant pulls nothing through a softmax."""
    energies = jnp.asarray([0.7, -0.3, 1.1])

    def surrogate(energies):
        alpha = jax.nn.softmax(energies)
        return 3.0 * jnp.sum(jax.lax.stop_gradient(alpha) * jnp.log(alpha))

    np.testing.assert_allclose(jax.grad(surrogate)(energies), 0.0, atol=1e-12)


def test_entropy_of_even_attention_is_log_of_the_positions_and_flat():
    def entropy(energies):
        alpha = jax.nn.softmax(energies)[None, None, None]
        return policy_terms(alpha, alpha, jnp.asarray([True]), jnp.ones((1, 1)), jnp.zeros(1), 0.0)[
            1
        ][0]

    value, slope = jax.value_and_grad(entropy)(jnp.zeros(7))
    np.testing.assert_allclose(value, np.log(7), atol=1e-6)
    np.testing.assert_allclose(slope, 0.0, atol=1e-7)


def test_padding_chooses_nothing():
    alpha = jnp.full((1, 2, 1, 2), 0.5)
    chosen = jnp.asarray([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    short = policy_terms(
        alpha, chosen, jnp.asarray([False]), jnp.asarray([[1.0, 0.0]]), jnp.ones(1), 0.0
    )
    np.testing.assert_allclose(short[0], np.log(0.5), atol=1e-6)
    np.testing.assert_allclose(short[1], np.log(2), atol=1e-6)


def test_the_baseline_starts_at_the_first_cost_and_moves_a_tenth():
    first = next_baseline(jnp.zeros(()), jnp.asarray(7.0), step=jnp.asarray(0), decay=0.9)
    second = next_baseline(first, jnp.asarray(17.0), step=jnp.asarray(1), decay=0.9)
    np.testing.assert_allclose((first, second), (7.0, 8.0))
