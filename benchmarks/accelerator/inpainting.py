"""The programs of the inpainter, at the size of the released one: 16 pictures of 256x256."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from accelerator.program import HALF, Program, integers, shape, size_of

from capjax.inpaint.discriminator import Discriminator
from capjax.inpaint.generator import Generator
from capjax.inpaint.inpainter import fill_holes
from capjax.inpaint.training.players import Inpainting
from capjax.inpaint.training.settings import HoleConfig, InpaintingLossConfig
from capjax.train import optimizer as optimizers
from capjax.train.adversarial.players import DISCRIMINATOR, GENERATOR
from capjax.train.adversarial.step import create_players_state, make_players_step
from capjax.train.optimizer import OptimizerConfig

PICTURES, SIDE = 16, 256
ABOUT = f"{PICTURES} pictures of {SIDE}x{SIDE}"


def pictures(depth: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    """A batch of pictures or, of one channel, of masks."""
    return shape(PICTURES, SIDE, SIDE, depth, dtype=dtype)


def generator() -> Program:
    """Holes filled, from pixels to pixels."""
    net = Generator(dtype=HALF)
    variables = jax.eval_shape(net.init, jax.random.key(0), pictures(3), pictures(1))
    images, masks = pictures(3, jnp.uint8), shape(PICTURES, SIDE, SIDE, dtype=jnp.bool_)

    def fill(variables: Any, images: Any, masks: Any) -> Any:
        return fill_holes(net, variables, images, masks)

    return Program(
        name="inpaint_fill",
        about=f"{ABOUT}, cnum {net.cnum}",
        function=fill,
        arguments=(variables, images, masks),
        operations=None,
        moved=size_of((variables, images, masks, images)),
        # The map before the first gate, in float32.
        budget=PICTURES * SIDE * SIDE * net.cnum * 4,
    )


def discriminator() -> Program:
    """Scores of pictures."""
    net = Discriminator(dtype=HALF)
    images, masks = pictures(3), pictures(1)
    variables = jax.eval_shape(net.init, jax.random.key(0), images, masks)
    return Program(
        name="inpaint_discriminator",
        about=f"{ABOUT}, width {net.width}",
        function=net.apply,
        arguments=(variables, images, masks),
        operations=None,
        moved=size_of((variables, images, masks)),
        budget=PICTURES * (SIDE // 2) ** 2 * net.width * 4,
    )


def training() -> Program:
    """An update of the discriminator and one of the generator, holes drawn."""
    players = Inpainting(
        Generator(dtype=HALF), Discriminator(dtype=HALF), InpaintingLossConfig(), HoleConfig()
    )
    config = OptimizerConfig(learning_rate=1e-4, b1=0.5, schedule="constant")
    rule = optimizers.make_sole_optimizer(config, 1000)
    both = {GENERATOR: rule, DISCRIMINATOR: rule}

    def first() -> Any:
        params, statistics = players.init(jax.random.key(0), SIDE)
        return create_players_state(params, statistics, both, key=jax.random.key(0))

    state = jax.eval_shape(first)
    schedule = optimizers.make_schedule(config, config.learning_rate, 1000)
    batch = {"image": pictures(3, jnp.uint8), "position": integers(PICTURES)}
    return Program(
        name="inpaint_train",
        about=f"{ABOUT}, cnum {players.generator.cnum}, width {players.discriminator.width}",
        function=make_players_step(players, both, schedule=schedule),
        arguments=(state, batch),
        operations=None,
        moved=2 * size_of(state) + size_of(batch),
        budget=PICTURES * SIDE * SIDE * players.generator.cnum * 4,
        donated=(0,),
    )
