"""Integrated Gradients against Captum, a closed form, its own axiom, and part by part."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import capjax
from capjax.explainers import IntegratedGradients
from capjax.explainers.programs import make_request
from capjax.types import Features
from tests.explainers.toys import asking, attentive, linear_net
from tests.golden import integrated_gradients as golden

WORDS = np.broadcast_to(np.eye(4, dtype=np.float32), (2, 4, 4))


def test_equals_captum_on_the_same_features():
    captioner = attentive()
    features = Features.from_grid(golden.positions().reshape(2, *golden.GRID, golden.DEPTH))
    own = asking(IntegratedGradients(steps=golden.STEPS))
    maps = own(captioner.net, captioner.variables, features, golden.TOKENS, golden.LENGTHS, WORDS)
    with np.load(golden.OUTPUTS) as expected:
        assert np.ptp(expected["maps"]) > 0.1
        np.testing.assert_allclose(maps[:, :, 0], expected["maps"], atol=1e-4)
        one = (golden.TOKENS[:, None], golden.LENGTHS[:, None], WORDS[:, None])
        request = make_request(captioner.net, captioner.variables, features, *one)
        real = np.arange(4) < golden.LENGTHS[:, None]
        said = np.where(real, request.forced.log_probs[:, 0], 0)
        np.testing.assert_allclose(said, expected["log_probs"], atol=1e-5)


def test_a_linear_score_has_a_closed_form():
    """Logit k is the mean of channel k: a position adds what it has beyond the mean, over P."""
    grid = np.random.default_rng(0).normal(size=(1, 3, 4, 5)).astype(np.float32)
    arguments = (np.array([[1, 4]]), np.array([2]), np.eye(2, dtype=np.float32)[None])
    own = asking(IntegratedGradients(steps=1))
    features = Features.from_grid(jnp.asarray(grid))
    maps = own(linear_net(), {}, features, *arguments, measure="logit")
    for word, channel in enumerate((1, 4)):
        values = grid[0, ..., channel].reshape(-1)
        np.testing.assert_allclose(maps[0, word, 0], (values - values.mean()) / 12, atol=1e-6)


def test_the_sum_is_the_change_of_the_score_and_the_gap_says_how_nearly():
    captioner = attentive()
    draw = np.random.default_rng(2)
    # Padding with large values must add nothing.
    positions = draw.normal(size=(2, 1, 9, 24)).astype(np.float32)
    positions[:, :, 6:] = 30.0
    valid = np.broadcast_to(np.arange(9) < 6, (2, 1, 9))
    features = Features(jnp.asarray(positions), jnp.zeros((2, 0, 24)), jnp.asarray(valid), (3, 3))
    mean = jnp.broadcast_to(features.pooled[:, None, None], positions.shape)
    one = (golden.TOKENS[:, None], golden.LENGTHS[:, None], WORDS[:, None])

    @jax.jit
    def gaps(few, many):
        net, variables = captioner.net, captioner.variables
        request = make_request(net, variables, few, *one)
        ends = [request.score(net, variables, features=own) for own in (many, few)]
        answers = [IntegratedGradients(steps)(net, variables, request)["ig"] for steps in (2, 24)]
        return ends[1] - ends[0], [(own.values, own.flags["completeness_gap"]) for own in answers]

    change, answers = gaps(features, features.replace(positions=mean))
    for values, gap in answers:
        missing = np.abs(np.asarray(values).sum((-1, -2, -3)) - change)
        np.testing.assert_allclose(gap, missing / np.maximum(np.abs(change), 0.1), atol=1e-5)
    assert not np.asarray(answers[1][0])[..., 2, :].any()
    assert np.max(answers[1][1]) < 0.02 < np.max(answers[0][1])


def test_without_contexts_an_image_acts_through_the_initial_state_alone():
    """T-XAI-11: every position's gradient is then a P-th of that by the pooled vector."""
    captioner = attentive()
    parameters = captioner.variables["params"]
    decoder = dict(parameters["decoder"])
    for name in ("lstm_context", "output_context"):
        decoder[name] = jnp.zeros_like(decoder[name])
    variables = {**captioner.variables, "params": {**parameters, "decoder": decoder}}
    features = Features.from_grid(golden.positions().reshape(2, *golden.GRID, golden.DEPTH))
    pooled = Features.from_grid(features.pooled[:, None, None])
    one = (golden.TOKENS[:, None], golden.LENGTHS[:, None], WORDS[:, None])

    @jax.jit
    def gradients(features):
        request = make_request(captioner.net, variables, features, *one)
        return request.gradients(captioner.net, variables, features.positions, lambda slope: slope)

    found, whole = gradients(features), gradients(pooled)
    assert np.ptp(whole) > 0.1
    np.testing.assert_allclose(found, np.broadcast_to(whole / 12, found.shape), atol=1e-6)


def test_watched_part_by_part_it_gives_the_same_and_can_be_ended():
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    options = {"query": "a man on a horse", "methods": IntegratedGradients(steps=5)}
    told = []
    (plain,) = capjax.explain(attentive(), image, **options)
    (watched,) = capjax.explain(
        attentive(), image, watch=lambda *part: told.append(part), **options
    )
    assert told == [("ig", done, 5) for done in range(6)]
    np.testing.assert_allclose(watched["ig"].maps, plain["ig"].maps, atol=1e-6)

    def end(method, done, parts):
        told.append(done)
        if done == 2:
            raise KeyboardInterrupt

    told.clear()
    with pytest.raises(KeyboardInterrupt):
        capjax.explain(attentive(), image, **{**options, "watch": end})
    assert told == [0, 1, 2]


def test_steps_are_checked():
    with pytest.raises(ValueError, match="got steps=0; expected 1 or more"):
        IntegratedGradients(steps=0)
