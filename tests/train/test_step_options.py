"""Options of the update: each against what it stands for."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from capjax import rng
from capjax.captioner import CaptionNet
from capjax.decoders import AttentionLSTM
from capjax.encoders import ConvNet
from capjax.ops import barrier
from capjax.train import optimizer as optimizers
from capjax.train.objectives.losses import LossConfig
from capjax.train.objectives.objective import scheduled_share, scheduled_tokens
from capjax.train.optimizer import OptimizerConfig
from capjax.train.plan import LoopConfig
from capjax.train.state import AVERAGE, BASELINE, create_state
from capjax.train.step import averaged, make_train_step
from capjax.types import Features
from tests import compiled
from tests.train.toy import BATCH, VOCABULARY, make_batch

RATE = 0.1


def features_batch(position=0):
    batch = dict(make_batch(position))
    del batch["image"]
    random = np.random.default_rng(position)
    batch["features"] = random.normal(size=(BATCH, 1, 6, 8)).astype(np.float32)
    return batch


@functools.cache
def net(**fields):
    decoder = AttentionLSTM(VOCABULARY, 8, hidden=6, attention=4, embedding=5, **fields)
    return CaptionNet(ConvNet(widths=(8,), residuals=(0,)), decoder, (127.5,) * 3, (127.5,) * 3)


def updated(loss=None, *, batches=1, fields=(), train_encoder=False, optimizer=None, **options):
    """States before and after updates of plain gradient descent, and the last metrics."""
    model = net(**dict(fields))
    optimizer = optimizer or optax.sgd(RATE)
    make = make_batch if train_encoder else features_batch
    batch = make_batch(0)
    variables = compiled.init(model, jax.random.key(1), batch["image"], batch["tokens"])
    state = create_state(
        variables,
        optimizer,
        train_encoder=train_encoder,
        key=jax.random.key(2),
        average=bool(options.get("average_decay")),
        baseline=dict(fields).get("hard", False),
    )
    step = make_train_step(
        model,
        optimizer,
        loss or LossConfig(),
        schedule=optax.constant_schedule(RATE),
        grid=(2, 3),
        **options,
    )
    step = barrier.jit(step)
    trail = [state]
    for number in range(batches):
        state, metrics = step(state, make(number))
        trail.append(state)
    return trail, metrics


@functools.cache
def once_updated():
    """`updated` of the default loss."""
    return updated()


def close(one, other, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), one, other)


@pytest.mark.parametrize("reduce", ["token", "caption"])
def test_parts_of_a_batch_make_the_same_update(reduce):
    loss = LossConfig(reduce=reduce)
    whole, figures = updated(loss)
    parts, same = updated(loss, accumulate=4)
    close(whole[-1].params, parts[-1].params, atol=2e-6)
    close(figures, same, rtol=2e-5)
    assert (
        np.abs(
            whole[0].params["decoder"]["head_kernel"] - whole[1].params["decoder"]["head_kernel"]
        ).max()
        > 1e-3
    )


def test_an_indivisible_batch_is_refused():
    with pytest.raises(ValueError, match="accumulate=3 does not divide"):
        LoopConfig(batch_size=8, accumulate=3).check()


def test_computing_activations_again_changes_no_update():
    kept, _ = updated(train_encoder=True)
    again, _ = updated(train_encoder=True, remat=True)
    close(kept[-1].params, again[-1].params, atol=1e-6)
    close(kept[-1].batch_stats, again[-1].batch_stats, atol=1e-6)


def test_the_average_of_parameters_is_what_is_evaluated():
    trail, _ = updated(batches=3, average_decay=0.15)
    average = trail[0].params
    for step, state in enumerate(trail[1:]):
        decay = min(0.15, (1 + step) / (10 + step))  # 0.1, then the full rate
        average = jax.tree.map(lambda a, b, d=decay: d * a + (1 - d) * b, average, state.params)
    close(trail[-1].moving[AVERAGE], average, atol=1e-6)
    close(trail[-1].variables["params"]["decoder"], average["decoder"], atol=1e-6)
    assert averaged(jnp.zeros(()), jnp.ones(()), jnp.asarray(10_000), 0.9) == pytest.approx(0.1)


def test_an_encoder_can_wait():
    config = OptimizerConfig(
        learning_rate=1e-2, encoder_learning_rate=1e-2, encoder_start=2, schedule="constant"
    )
    optimizer = optimizers.make_optimizer(config, 10)
    trail, _ = updated(batches=3, train_encoder=True, optimizer=optimizer)
    encoders = [state.params["encoder"] for state in trail]
    close(encoders[0], encoders[1], atol=0)
    close(encoders[1], encoders[2], atol=0)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), encoders[2], encoders[3])
    assert max(jax.tree.leaves(moved)) > 1e-3
    decoders = [state.params["decoder"]["head_bias"] for state in trail]
    assert np.abs(decoders[0] - decoders[1]).max() > 1e-3
    means = [jax.tree.leaves(state.batch_stats)[0] for state in trail]
    assert np.abs(means[0] - means[1]).max() > 1e-3  # batch norm is in training meanwhile


def test_the_norms_of_gradient_and_update_are_logged():
    trail, metrics = once_updated()
    changes = jax.tree.map(lambda a, b: np.sum((a - b) ** 2), trail[0].params, trail[1].params)
    norm = np.sqrt(sum(jax.tree.leaves(changes)))
    assert metrics["update_norm"] == pytest.approx(norm, rel=1e-4)
    assert metrics["gradient_norm"] == pytest.approx(norm / RATE, rel=1e-4)


def test_scheduled_sampling_reads_words_of_the_model_in_the_asked_share():
    """A model that is sure of one word: what it reads is that word, or the true one."""
    model = net()
    batch = features_batch()
    features = Features.from_grid(jnp.asarray(batch["features"]).reshape(BATCH, 2, 3, 8))
    tokens = jnp.tile(jnp.asarray([[3]]), (BATCH, 400))
    shapes = jax.eval_shape(model.init, jax.random.key(0), make_batch(0)["image"], tokens[:, :2])
    variables = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    variables["params"]["decoder"]["head_bias"] = jnp.zeros(VOCABULARY).at[7].set(50.0)
    keys = rng.per_example(jax.random.key(1), jnp.arange(BATCH))
    read = jax.jit(scheduled_tokens, static_argnums=0)(
        model, variables, features, tokens, jnp.asarray(0.3), keys
    )
    assert set(np.unique(read)) == {3, 7}
    assert abs(float(jnp.mean(read == 7)) - 0.3) < 0.03
    loss = LossConfig(scheduled_sampling=0.4, scheduled_sampling_steps=10)
    shares = [float(scheduled_share(loss, jnp.asarray(step))) for step in (0, 5, 10, 99)]
    np.testing.assert_allclose(shares, (0.0, 0.2, 0.4, 0.4), atol=1e-6)


def test_scheduled_sampling_changes_what_is_read_not_what_is_learnt():
    none, plain = once_updated()
    never, same = updated(LossConfig(scheduled_sampling=0.5, scheduled_sampling_steps=10))
    close(none[-1].params, never[-1].params, atol=1e-7)  # the share is 0 at the first update
    assert plain["cross_entropy"] == pytest.approx(float(same["cross_entropy"]))
    often, other = updated(LossConfig(scheduled_sampling=0.9))
    assert abs(float(other["cross_entropy"]) - float(plain["cross_entropy"])) > 1e-5


def test_hard_attention_keeps_a_baseline_and_more_samples_average():
    fields = (("hard", True), ("expected_share", 0.0))
    trail, metrics = updated(batches=2, fields=fields)
    baselines = [float(state.moving[BASELINE]) for state in trail]
    assert baselines[1] == pytest.approx(float(trail[1].moving[BASELINE]))
    assert metrics["baseline"] == pytest.approx(baselines[1])
    assert baselines[2] == pytest.approx(
        0.9 * baselines[1] + 0.1 * float(metrics["caption_cost"]), rel=1e-5
    )
    costs = [
        float(updated(LossConfig(samples=count), fields=fields)[1]["caption_cost"])
        for count in (1, 64, 65)
    ]
    assert abs(costs[1] - costs[2]) < 0.2 * abs(costs[0] - costs[1])


def test_a_hard_run_resumes_with_its_baseline(tmp_path):
    from capjax.train.checkpoint import Checkpoints, Progress

    trail, _ = updated(batches=2, fields=(("hard", True),), average_decay=0.9)
    checkpoints = Checkpoints(tmp_path, keep=1, frozen=trail[-1].frozen)
    checkpoints.save(trail[-1], Progress())
    checkpoints.wait()
    template = jax.device_put(trail[0], jax.devices()[0])
    restored = checkpoints.restore(dataclasses.replace(template))
    checkpoints.close()
    assert restored is not None
    close(restored[0].moving, trail[-1].moving, atol=0)
