"""Fills that are programs of JAX: pictures are padded, so that few programs serve all sizes.

Compiling one takes seconds, so shapes are squares of few sizes, in batches of 1, 4, 16, ….
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Array

from capjax.inpaint.fills.contract import Images, Masks

LEAST = 64
"""Pixels of a side."""
PIXELS = 2**22
"""Of a batch, about, that is worked on at once."""

Program = Callable[[Images, Masks], Array]


def in_few_shapes(
    program: Program, images: Images, masks: Masks, *, border: Literal["unknown", "edge"]
) -> Images:
    """What a program makes of the pictures, in batches of few shapes.

    Args:
      program: jitted, of pictures and masks; each picture depends on itself and its mask alone.
      images, masks: as `Fill.paint`.
      border: what is padded: pixels of the hole, or the picture and its mask going on as at the
        edge.
    """
    height, width = images.shape[1:3]
    side = _longer(max(height, width))
    below, right = side - height, side - width
    rows = _fourfold(len(images))
    while rows > 1 and rows * side * side > PIXELS:
        rows //= 4
    found = np.empty_like(images)
    for start in range(0, len(images), rows):
        some = slice(start, start + rows)
        count = len(images[some])
        around = ((0, rows - count), (0, below), (0, right))
        if border == "edge":
            colours = np.pad(images[some], (*around, (0, 0)), mode="edge")
            holes = np.pad(masks[some], around, mode="edge")
        else:
            colours = np.pad(images[some], (*around, (0, 0)))
            holes = np.pad(masks[some], around, constant_values=True)
        found[some] = np.asarray(program(colours, holes))[:count, :height, :width]
    return found


def _longer(side: int) -> int:
    """The next of 64, 96, 128, 192, 256, 384, …"""
    power = LEAST
    while power < side:
        power *= 2
    return 3 * power // 4 if LEAST < power and side <= 3 * power // 4 else power


def _fourfold(count: int) -> int:
    """The next of 1, 4, 16, 64, …"""
    power = 1
    while power < count:
        power *= 4
    return power
