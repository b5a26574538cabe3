"""What a small generator that adds to a thin plate learns from few pictures and ever new holes."""

import functools

import jax
import numpy as np
import pytest

from capjax.inpaint.discriminator import Discriminator
from capjax.inpaint.generator import Generator
from capjax.inpaint.training.players import Inpainting
from capjax.inpaint.training.settings import HoleConfig, InpaintingLossConfig
from capjax.train.adversarial.players import GENERATOR
from capjax.train.adversarial.step import create_players_state, make_players_step
from capjax.train.optimizer import OptimizerConfig, make_schedule, make_sole_optimizer

SIDE, UPDATES, ROWS = 32, 100, 4
UNSEEN = 10_000
"""Place in the stream of holes that no update of a test comes near."""


def stripes() -> np.ndarray:
    """Two pictures [2 S S 3] uint8 whose waves no thin plate continues."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    waves = np.stack([np.sin(rows / 2.5), np.sin((rows + columns) / 3)])[..., None]
    return np.rint(127.5 + 100 * waves * [1.0, 0.6, -0.8]).astype(np.uint8)


@pytest.mark.slow  # most of it compiles an update
def test_pictures_are_learnt_whatever_holes_are_drawn():
    players = Inpainting(
        Generator(cnum=8, start="plate"),
        Discriminator(),
        InpaintingLossConfig(adversarial=0.0),
        HoleConfig(kind="either"),
    )
    rule = OptimizerConfig(learning_rate=2e-3, b2=0.99, schedule="constant", clip_norm=1.0)
    optimizers = {GENERATOR: make_sole_optimizer(rule, UPDATES)}
    schedule = make_schedule(rule, rule.learning_rate, UPDATES)
    update = jax.jit(make_players_step(players, optimizers, schedule=schedule))
    params, _ = players.init(jax.random.key(0), SIDE)
    state = create_players_state(params, {}, optimizers, key=jax.random.key(1))

    def batch(place: int) -> dict[str, np.ndarray]:
        images = stripes()[np.arange(ROWS) % 2]
        return {"image": images, "position": np.arange(place, place + ROWS, dtype=np.int32)}

    def error(state) -> float:
        """Inside holes that nothing was learnt from."""
        metrics = [update(state, batch(UNSEEN + ROWS * number))[1] for number in range(4)]
        return float(np.mean([own["hole_l1"] for own in metrics]))

    before = error(state)  # that of the thin plate
    places = range(0, UPDATES * ROWS, ROWS)
    state = functools.reduce(lambda own, place: update(own, batch(place))[0], places, state)
    assert error(state) < 0.65 * before
