"""The programs of the inpainter, at the size of the released one: 16 pictures of 256x256."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from accelerator.program import HALF, Program, shape, size_of

from capjax.inpaint.discriminator import Discriminator
from capjax.inpaint.generator import Generator
from capjax.inpaint.inpainter import fill_holes

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
