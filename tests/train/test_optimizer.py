"""Update rules against published golden numbers and hand-computed steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.train.optimizer import OptimizerConfig, make_optimizer, make_schedule


def trajectory(config: OptimizerConfig, gradients, *, shape=()) -> list[float]:
    """The parameter after each update, starting at 0."""
    params = {"decoder": {"w": jnp.zeros(shape)}}
    optimizer = make_optimizer(config, 10)
    state = optimizer.init(params)
    values = []
    for gradient in gradients:
        update, state = optimizer.update(
            {"decoder": {"w": jnp.full(shape, gradient)}}, state, params
        )
        params = jax.tree.map(jnp.add, params, update)
        values.append(np.asarray(params["decoder"]["w"]))
    return values


@pytest.mark.parametrize(
    ("name", "rate", "golden"),
    [
        ("adam", 2e-4, (-2.0e-4, -1.267793e-4, -9.944116e-5)),
        ("rmsprop", 1e-4, (-4.583493e-4, -4.666736e-4, -5.747494e-4)),
    ],
)
def test_golden_trajectories(name, rate, golden):
    config = OptimizerConfig(name=name, learning_rate=rate, schedule="constant")
    np.testing.assert_allclose(trajectory(config, (1.0, -2.0, 0.5)), golden, rtol=2e-5)


def test_cosine_schedule_after_warm_up():
    config = OptimizerConfig(schedule="cosine", warmup_steps=10)
    schedule = make_schedule(config, 2.0, 110)
    steps = [0, 5, 10, 60, 110]
    expected = [0.0, 1.0, 2.0, 1.0, 0.0]
    np.testing.assert_allclose([schedule(step) for step in steps], expected, atol=1e-6)


def test_step_schedule():
    config = OptimizerConfig(schedule="step", decay_rate=0.5, decay_steps=3)
    schedule = make_schedule(config, 8.0, 100)
    np.testing.assert_allclose([schedule(n) for n in (0, 2, 3, 6)], [8, 8, 4, 2])


def test_weight_decay_spares_vectors():
    config = OptimizerConfig(name="adamw", schedule="constant", weight_decay=0.1)
    params = {"decoder": {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}}
    optimizer = make_optimizer(config, 10)
    zero = jax.tree.map(jnp.zeros_like, params)
    update, _ = optimizer.update(zero, optimizer.init(params), params)
    np.testing.assert_allclose(update["decoder"]["w"], -config.learning_rate * 0.1, rtol=1e-6)
    np.testing.assert_allclose(update["decoder"]["b"], 0.0)


def test_clipping_by_norm_sees_both_parts_and_by_value_each_element():
    params = {"decoder": {"w": jnp.zeros(())}, "encoder": {"w": jnp.zeros(())}}
    gradients = {"decoder": {"w": jnp.asarray(3.0)}, "encoder": {"w": jnp.asarray(4.0)}}
    # RMSProp is far enough from scale-free at this size to show what it was given.
    rates = {"learning_rate": 1.0, "encoder_learning_rate": 1.0, "schedule": "constant"}
    by_norm = make_optimizer(OptimizerConfig(name="rmsprop", clip_norm=1e-3, **rates), 1)
    by_value = make_optimizer(OptimizerConfig(name="rmsprop", clip_value=1e-3, **rates), 1)

    def rule(gradient):
        return -gradient / np.sqrt(0.05 * gradient**2 - (0.05 * gradient) ** 2 + 1e-4)

    update, _ = by_norm.update(gradients, by_norm.init(params), params)
    np.testing.assert_allclose(update["decoder"]["w"], rule(3e-3 / 5), rtol=1e-4)
    np.testing.assert_allclose(update["encoder"]["w"], rule(4e-3 / 5), rtol=1e-4)
    update, _ = by_value.update(gradients, by_value.init(params), params)
    np.testing.assert_allclose(update["encoder"]["w"], rule(1e-3), rtol=1e-4)


def test_encoder_has_its_own_rate():
    config = OptimizerConfig(learning_rate=1e-2, encoder_learning_rate=1e-3, schedule="constant")
    params = {"decoder": {"w": jnp.zeros(3)}, "encoder": {"w": jnp.zeros(3)}}
    optimizer = make_optimizer(config, 10)
    ones = jax.tree.map(jnp.ones_like, params)
    update, _ = optimizer.update(ones, optimizer.init(params), params)
    np.testing.assert_allclose(update["decoder"]["w"], -1e-2, rtol=1e-4)
    np.testing.assert_allclose(update["encoder"]["w"], -1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": "sgd"}, "adam, adamw, rmsprop"),
        ({"schedule": "linear"}, "constant, cosine, step"),
        ({"weight_decay": 0.1}, "adamw"),
        ({"clip_norm": 1.0, "clip_value": 1.0}, "set one of them to 0"),
        ({"learning_rate": 0.0}, "positive"),
    ],
)
def test_meaningless_settings_are_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        OptimizerConfig(**changes)
