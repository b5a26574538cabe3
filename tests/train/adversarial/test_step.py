"""Two players against closed forms in NumPy, in parts, over devices, and through a crash."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from capjax import rng
from capjax.train import sharding
from capjax.train.adversarial.players import DISCRIMINATOR, GENERATOR
from capjax.train.adversarial.step import create_players_state, make_players_step
from capjax.train.loop import Loop
from capjax.train.plan import LoopConfig, Plan
from capjax.train.records import read_metrics
from capjax.train.step import compile_step
from tests.train.toy import data_mesh, host, same

BATCH, WEIGHT = 8, 0.3
RATES = {GENERATOR: 0.1, DISCRIMINATOR: 0.05}


class Line:
    """Makes w x + noise of x, where y is wanted; the discriminator sees v z of a number z."""

    noise = 0.0

    def prepare(self, batch, key):
        keys = rng.per_example(rng.stream(key, "toy"), batch["position"])
        return {**batch, "noise": self.noise * jax.vmap(jax.random.normal)(keys)}

    def generate(self, params, batch):
        return params["w"] * batch["x"] + batch["noise"]

    def judge(self, params, statistics, made, batch):
        real, fake = params["v"] * batch["y"], params["v"] * made
        loss = 0.5 * jnp.mean(jax.nn.relu(1 - real)) + 0.5 * jnp.mean(jax.nn.relu(1 + fake))
        return loss, ({"discriminator_loss": loss}, statistics + 1)

    def persuade(self, made, params, statistics, batch):
        loss = jnp.mean((batch["y"] - made) ** 2)
        if params is not None:
            loss, statistics = loss - WEIGHT * jnp.mean(params["v"] * made), statistics + 1
        return loss, ({"loss": loss}, statistics)


class NoisyLine(Line):
    noise = 0.1


def make_batch(position):
    random = np.random.default_rng(position)
    x = random.normal(size=BATCH).astype(np.float32)
    place = np.arange(BATCH, dtype=np.int32) + position * BATCH
    return {"x": x, "y": 2 * x, "position": place}


def batches(position):
    return (make_batch(number) for number in itertools.count(position))


def first_state(*, alone=False, average=False):
    params = {GENERATOR: {"w": jnp.asarray(0.5)}, DISCRIMINATOR: {"v": jnp.asarray(0.4)}}
    statistics = {DISCRIMINATOR: jnp.zeros(())}
    if alone:
        del params[DISCRIMINATOR]
        statistics = {}
    return create_players_state(
        params, statistics, optimizers(), key=jax.random.key(0), average=average
    )


def optimizers():
    return {player: optax.sgd(rate) for player, rate in RATES.items()}


@functools.cache
def compiled(players=Line, devices=1, parts=1, decay=0.0):
    rate = optax.constant_schedule(RATES[GENERATOR])
    step = make_players_step(
        players(), optimizers(), schedule=rate, accumulate=parts, average_decay=decay
    )
    return compile_step(step, data_mesh(devices))


def by_hand(batch, w, v):
    """The weights after an update, and the discriminator's gradient."""
    x, y = batch["x"].astype(np.float64), batch["y"].astype(np.float64)
    fake = w * x
    slope = -0.5 * np.mean(y * (v * y < 1)) + 0.5 * np.mean(fake * (v * fake > -1))
    new = v - RATES[DISCRIMINATOR] * slope
    pull = np.mean(2 * (fake - y) * x) - WEIGHT * new * np.mean(x)
    return w - RATES[GENERATOR] * pull, new, slope, pull


@pytest.mark.parametrize("parts", [1, 4])
def test_the_discriminator_moves_first_and_the_generator_meets_the_new_one(parts):
    batch = make_batch(0)
    state, metrics = compiled(parts=parts)(first_state(), batch)
    w, v, slope, pull = by_hand(batch, 0.5, 0.4)
    assert state.params[GENERATOR]["w"] == pytest.approx(w, rel=1e-5)
    assert state.params[DISCRIMINATOR]["v"] == pytest.approx(v, rel=1e-5)
    assert metrics["discriminator_gradient_norm"] == pytest.approx(abs(slope), rel=1e-5)
    assert metrics["gradient_norm"] == pytest.approx(np.hypot(slope, pull), rel=1e-5)
    assert state.batch_stats[DISCRIMINATOR] == 2  # one turn each, however many parts
    assert int(state.step) == 1


def test_one_player_learns_alone():
    batch = make_batch(0)
    state, metrics = compiled()(first_state(alone=True), batch)
    x, y = batch["x"], batch["y"]
    expected = 0.5 - RATES[GENERATOR] * np.mean(2 * (0.5 * x - y) * x)
    assert state.params[GENERATOR]["w"] == pytest.approx(expected, rel=1e-5)
    assert set(state.params) == {GENERATOR} and not state.batch_stats
    assert "discriminator_loss" not in metrics


def test_the_average_is_of_the_generator():
    state, _ = compiled(decay=0.9)(first_state(average=True), make_batch(0))
    w = float(state.params[GENERATOR]["w"])
    rate = 1 / 10  # of the first update
    assert state.variables["params"][GENERATOR]["w"] == pytest.approx(rate * 0.5 + (1 - rate) * w)
    assert DISCRIMINATOR not in state.variables["params"]


@pytest.mark.devices
def test_devices_change_nothing():
    ends = []
    for devices in (1, 8):
        mesh = data_mesh(devices)
        state = sharding.place_whole(first_state(), sharding.replicated(mesh))
        for position in range(5):
            batch = sharding.place_batch(make_batch(position), mesh)
            state, _ = compiled(NoisyLine, devices)(state, batch)
        ends.append(host(state.params))
    for one, other in zip(*map(jax.tree.leaves, ends), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


class KilledError(Exception):
    """Stands for a crash."""


def run(folder, *, die_at=None, drawn=None):
    def stream(position):
        for number, batch in enumerate(batches(position), start=position):
            if number == die_at:
                raise KilledError
            yield batch

    def score(variables):
        return {"closeness": -abs(float(variables["params"][GENERATOR]["w"]) - 2.0)}

    def pictures(variables, step):
        (drawn if drawn is not None else []).append(step)
        return {"strip": np.zeros((2, 3, 3), np.uint8)}

    loop = Loop(
        step=compiled(NoisyLine),
        batches=stream,
        score=score,
        keep_best=lambda variables, step, scores: None,
        plan=Plan(steps=8, steps_per_epoch=4, evaluate_every=4, metric="closeness"),
        config=LoopConfig(batch_size=BATCH, checkpoint_every=3, log_every=2, progress=False),
        mesh=data_mesh(1),
        workdir=folder,
        pictures=pictures,
        examples="pictures",
    )
    return loop.run(first_state())


def test_a_crash_changes_nothing(tmp_path):
    drawn: list[int] = []
    whole = run(tmp_path / "whole", drawn=drawn)
    with pytest.raises(KilledError):
        run(tmp_path / "killed", die_at=5)
    again = run(tmp_path / "killed")
    assert same(whole.state.params, again.state.params)
    records = read_metrics(tmp_path / "killed" / "metrics.jsonl")
    assert [record["step"] for record in records] == list(range(1, 9))
    assert records[-1]["validation"]["closeness"] > records[3]["validation"]["closeness"]
    assert records[0]["pictures_per_second"] > 0
    assert drawn == [4, 8]
