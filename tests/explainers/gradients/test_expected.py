"""Expected gradients against all their baselines, and through what the image reaches the words."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.explainers import ExpectedGradients
from capjax.explainers.programs import make_request
from capjax.types import Features
from tests.explainers.toys import attentive
from tests.golden.integrated_gradients import LENGTHS, TOKENS

WORDS = np.broadcast_to(np.eye(4, dtype=np.float32), (2, 1, 4, 4))


def features():
    """Of six positions, the last of which is padding in the second image."""
    draw = np.random.default_rng(1)
    positions = draw.normal(size=(2, 1, 6, 24)).astype(np.float32)
    valid = np.ones((2, 1, 6), bool)
    valid[1, 0, 5] = False
    positions[1, 0, 5] = 50.0
    return Features(jnp.asarray(positions), jnp.zeros((2, 0, 24)), jnp.asarray(valid), (2, 3))


def test_the_mean_over_draws_is_that_over_all_baselines():
    """Within three standard errors, nine in ten within two; the sum is the change of the score."""
    captioner = attentive()
    net, variables, given = captioner.net, captioner.variables, features()
    method = ExpectedGradients(samples=300)

    @jax.jit
    def call():
        request = make_request(net, variables, given, TOKENS[:, None], LENGTHS[:, None], WORDS)

        def score(positions):
            moved = given.replace(positions=positions)
            return request.score(net, variables, features=moved)

        def of_baseline(position):
            baseline = given.positions[:, :, position][:, :, None]
            way = jnp.where(given.valid[..., None], given.positions - baseline, 0.0)

            def at(share):
                return request.gradients(
                    net, variables, baseline + share * way, lambda g: (g * way).sum(-1)
                )

            shares = (jnp.arange(40) + 0.5) / 40
            alone = score(jnp.broadcast_to(baseline, given.positions.shape))
            return jnp.mean(jax.lax.map(at, shares), axis=0), alone

        exact = jax.lax.map(of_baseline, jnp.arange(6))
        return method(net, variables, request)[method.NAME], exact, score(given.positions)

    found, (maps, alone), whole = call()
    valid = np.asarray(given.valid)[:, 0].T  # [P B]
    weights = (valid / valid.sum(0)).reshape(6, 2, 1, 1)
    wanted = np.sum(weights[..., None, None] * maps, axis=0).reshape(found.values.shape)
    np.testing.assert_allclose(
        wanted.sum((-1, -2, -3)), whole - np.sum(weights * alone, axis=0), atol=2e-3
    )
    said = np.asarray(found.error) > 1e-6
    away = np.abs(found.values - wanted)[said] / np.asarray(found.error)[said]
    assert away.max() < 4 and np.mean(away < 2) > 0.9 and np.mean(away < 1) > 0.5
    assert not np.asarray(found.values)[1, ..., 1, 2].any()
    np.testing.assert_array_equal(found.values[1, :, 3], 0)


def test_options_are_checked():
    with pytest.raises(ValueError, match="got samples=1; expected 2 or more"):
        ExpectedGradients(samples=1)
