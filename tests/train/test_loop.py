"""Runs that are interrupted, killed, stopped early or lost, against runs that are not."""

import json
import os
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from capjax.captioner import MODEL_FILE
from capjax.train import sharding
from capjax.train.objectives.losses import LossConfig
from capjax.train.progress import NonFiniteError
from capjax.train.records import read_metrics
from capjax.train.state import create_state
from capjax.train.step import compile_step, make_train_step
from tests.train.toy import ToyRun, batches, make_batch, make_net, same


class KilledError(Exception):
    """Stands for a crash: nothing after it runs."""


def dying(at: int, how):
    """The stream of batches, which calls `how` when batch `at` is asked for."""

    def stream(position):
        for batch in batches(position):
            if position == at:
                how()
            yield batch
            position += 1

    return stream


def die():
    raise KilledError


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def steps_of(folder: Path) -> list[int]:
    return [record["step"] for record in read_metrics(folder / "metrics.jsonl")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbed: 8 updates with dropout, evaluated at 4 and 8."""
    folder = tmp_path_factory.mktemp("whole")
    return ToyRun(folder).run(), folder


def test_a_whole_run(whole):
    outcome, folder = whole
    assert outcome.reason == "finished"
    records = read_metrics(folder / "metrics.jsonl")
    assert [record["step"] for record in records] == list(range(1, 9))
    assert [r["step"] for r in records if "validation" in r] == [4, 8]
    assert records[-1]["validation"] == {"score": 8.0}
    assert records[3]["epoch"] == 1.0
    for name in ("attention_entropy", "attention_distance", "captions_per_second", "data_wait"):
        assert np.isfinite(records[0][name])
    assert outcome.progress.best_step == 8


@pytest.mark.parametrize("at", [3, 4, 6, 7])
def test_a_crash_changes_nothing(whole, tmp_path, at):
    """Killed before update at + 1, between and at checkpoints (3, 4, 6): bit-identical end."""
    with pytest.raises(KilledError):
        ToyRun(tmp_path, batches=dying(at, die)).run()
    outcome = ToyRun(tmp_path).run()
    assert outcome.reason == "finished"
    assert same(outcome.state.params, whole[0].state.params)
    assert same(outcome.state.opt_state, whole[0].state.opt_state)
    assert steps_of(tmp_path) == list(range(1, 9))
    assert outcome.progress == whole[0].progress


def test_lines_of_lost_steps_and_torn_lines_are_dropped(whole, tmp_path):
    with pytest.raises(KilledError):
        ToyRun(tmp_path, batches=dying(7, die), log_every=1).run()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "lo')
    outcome = ToyRun(tmp_path).run()
    assert steps_of(tmp_path) == list(range(1, 9))
    assert same(outcome.state.params, whole[0].state.params)


def test_sigterm_saves_and_returns(whole, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    interrupted = ToyRun(tmp_path, batches=dying(4, terminate), checkpoint_every=100).run()
    assert signal.getsignal(signal.SIGTERM) is before
    assert interrupted.reason == "interrupted"
    assert int(interrupted.state.step) == 5  # the update in progress is finished and saved
    outcome = ToyRun(tmp_path).run()
    assert same(outcome.state.params, whole[0].state.params)
    assert steps_of(tmp_path) == list(range(1, 9))


def test_sigterm_while_evaluating_leaves_at_once_and_evaluates_later(whole, tmp_path):
    def scores(step):
        if step == 4:
            terminate()
            signal.pause()  # never returns: the signal leaves the evaluation
        return float(step)

    interrupted = ToyRun(tmp_path, scores=scores).run()
    assert (interrupted.reason, int(interrupted.state.step)) == ("interrupted", 4)
    assert steps_of(tmp_path) == [1, 2, 3]
    resumed = ToyRun(tmp_path)
    resumed.current = 4
    outcome = resumed.run()
    assert resumed.scored == [4, 8]
    assert steps_of(tmp_path) == list(range(1, 9))
    assert outcome.progress == whole[0].progress
    assert same(outcome.state.params, whole[0].state.params)


def test_a_finished_run_is_not_evaluated_again(tmp_path):
    first = ToyRun(tmp_path)
    end = first.run()
    again = ToyRun(tmp_path)
    outcome = again.run()
    assert again.scored == [] and again.best == []
    assert outcome.progress == end.progress
    assert steps_of(tmp_path) == list(range(1, 9))


def falling(step):
    return -float(step)


def test_early_stopping_counters_survive_a_crash(tmp_path):
    settings = {"scores": falling, "patience": 3, "evaluate_every": 1}
    straight = ToyRun(tmp_path / "straight", **settings)
    expected = straight.run()
    assert expected.reason == "stopped early"
    assert (expected.progress.best_step, int(expected.state.step)) == (1, 4)
    assert straight.best == [1]
    with pytest.raises(KilledError):
        ToyRun(tmp_path / "killed", **settings, batches=dying(3, die)).run()
    resumed = ToyRun(tmp_path / "killed", **settings)
    outcome = resumed.run()
    assert outcome.reason == "stopped early"
    assert int(outcome.state.step) == 4
    assert resumed.best == []
    assert outcome.progress == expected.progress


def test_a_lost_loss_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    def stream(position):
        for batch in batches(position):
            if position == 5:
                batch = {**batch, "image": np.full(batch["image"].shape, np.nan, np.float32)}
            else:
                batch = {**batch, "image": batch["image"].astype(np.float32)}
            yield batch
            position += 1

    with pytest.raises(NonFiniteError, match=r"step 6: loss nan.*at step 5.*learning_rate") as lost:
        ToyRun(tmp_path, batches=stream).run()
    assert "init_from" not in str(lost.value)  # nothing was evaluated yet
    assert steps_of(tmp_path) == [1, 2, 3, 4, 5]
    assert sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir()) == [3, 4]


def test_weights_that_a_finite_gradient_ruined_are_not_saved(tmp_path):
    """Update 6, after which a checkpoint is due, is infinite; its loss and gradient are not."""

    def rate(count):
        return jnp.where(count == 5, jnp.inf, 1e-3)

    optimizer = optax.sgd(rate)

    class Exploding(ToyRun):
        def step(self):
            step = make_train_step(make_net(), optimizer, LossConfig(), schedule=rate, grid=(4, 4))
            return compile_step(step, self.mesh)

        def state(self):
            variables, key = super().state().variables, jax.random.key(0)
            state = create_state(variables, optimizer, train_encoder=True, key=key)
            return sharding.place_whole(state, sharding.replicated(self.mesh))

    (tmp_path / MODEL_FILE).write_text("{}")  # of an evaluation before
    message = r"step 6: loss \d.*gradient norm \d.*update norm (inf|nan).*--config.init_from="
    with pytest.raises(NonFiniteError, match=message):
        Exploding(tmp_path, scores=lambda step: 0.0).run()
    assert sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir()) == [3, 4]


def test_metrics_lines_are_plain_json(whole):
    for line in (whole[1] / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@pytest.mark.devices
def test_one_and_eight_devices_agree(tmp_path):
    assert jax.device_count() == 8
    states, losses = [], []
    for devices in (1, 8):
        run = ToyRun(tmp_path, devices=devices)
        step, state = run.step(), run.state()
        for position in range(5):
            batch = make_batch(position)
            state, metrics = step(state, run.place(batch))
            losses.append(float(metrics["loss"]))
        states.append(state)
    np.testing.assert_allclose(losses[:5], losses[5:], atol=1e-5)
    for one, other in zip(
        jax.tree.leaves(states[0].params), jax.tree.leaves(states[1].params), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.devices
def test_a_batch_must_divide_over_the_devices():
    with pytest.raises(ValueError, match="multiple of 8, e.g. 16"):
        sharding.check_batch_size(20, sharding.data_mesh())
