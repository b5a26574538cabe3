"""Fills holes by a blur of the known pixels alone, in growing scales."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from capjax.inpaint.fills.contract import Fill, Images, Masks
from capjax.ops.image import doubled, gaussian_blur, halved

LEAST = 64
"""Pixels of a side: sides are padded with unknown ones, so that few programs serve all sizes."""
PIXELS = 2**22
"""Of a batch, about, whose scales are held at once."""
REACH = 3
"""Of a kernel, in standard deviations."""


@dataclasses.dataclass(frozen=True)
class Blur(Fill):
    """A Gaussian blur of the known pixels: a smooth continuation, without texture or edges.

    A normalised convolution divides the blurred known pixels by the blurred mask of them, so that
    nothing of what is removed takes part (a blur of the whole picture would show it). Where too
    little is known within the kernel's reach, the next scale, twice as wide, takes over by degrees;
    behind the widest stands the mean.

    Attributes:
      sigma: standard deviation of the finest kernel, in pixels.
      enough: share of the kernel that has to be known for a scale to decide alone.
    """

    NAME = "blur"
    COST = "about twice a blur of the picture; one program for pictures of similar sizes"
    SOURCE = (
        "normalised convolution (Knutsson & Westin 1993) over a pyramid (Burt 1988: pull and push)"
    )

    sigma: float = 4.0
    enough: float = 0.1

    def __post_init__(self) -> None:
        if not 0.5 <= self.sigma <= 64:
            raise ValueError(f"got blur.sigma={self.sigma}; expected 0.5 to 64 pixels")
        if not 0 < self.enough <= 0.5:
            raise ValueError(f"got blur.enough={self.enough}; expected more than 0, to 0.5")

    def paint(self, images: Images, masks: Masks) -> Images:
        """The blur, everywhere."""
        height, width = images.shape[1:3]
        padded = _longer(height) - height, _longer(width) - width
        most = max(1, PIXELS // ((height + padded[0]) * (width + padded[1])))
        rows = min(1 << (len(images) - 1).bit_length(), 1 << (most.bit_length() - 1))
        found = np.empty_like(images)
        for start in range(0, len(images), rows):
            some = slice(start, start + rows)
            count = len(images[some])
            around = ((0, rows - count), (0, padded[0]), (0, padded[1]))
            known = np.pad(~masks[some], around)
            colours = np.pad(images[some], (*around, (0, 0)))
            blurred = _blurred(colours, known, self.sigma, self.enough)
            found[some] = np.asarray(blurred)[:count, :height, :width]
        return found


def _longer(side: int) -> int:
    """The next of 64, 96, 128, 192, 256, 384, …"""
    power = LEAST
    while power < side:
        power *= 2
    return 3 * power // 4 if LEAST < power and side <= 3 * power // 4 else power


@functools.partial(jax.jit, static_argnames=("sigma", "enough"))
def _blurred(
    images: Array,
    known: Array,
    sigma: float,
    enough: float,
) -> Array:
    """uint8 [B H W 3] of uint8 images [B H W 3], of which `known` [B H W] pixels count."""
    scales = max(1, math.ceil(math.log2(max(images.shape[1:3]) / sigma)))
    reach = math.ceil(REACH * sigma)
    weight = known[..., None].astype(jnp.float32)
    below = jnp.concatenate([images * weight, weight], axis=-1)
    sums = below.sum(axis=(1, 2), keepdims=True)
    levels = []
    for _ in range(scales):
        levels.append(gaussian_blur(below, sigma, reach, border="constant"))
        below = halved(below)
    value = jnp.broadcast_to(
        sums[..., :3] / jnp.maximum(sums[..., 3:], 1.0), (*below.shape[:-1], 3)
    )
    for level in reversed(levels):
        height, width = level.shape[1:3]
        wider = doubled(value)[:, :height, :width]
        share = level[..., 3:]
        here = level[..., :3] / jnp.maximum(share, 1e-6)
        value = wider + jnp.minimum(share / enough, 1.0) * (here - wider)
    return jnp.clip(jnp.rint(value), 0, 255).astype(jnp.uint8)
