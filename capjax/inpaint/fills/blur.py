"""Fills holes by a blur of the known pixels alone, in growing scales."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array

from capjax.inpaint.fills.contract import Fill, Images, Masks
from capjax.inpaint.fills.few_shapes import in_few_shapes
from capjax.ops.image import doubled, gaussian_blur, halved

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
        program = functools.partial(_blurred, sigma=self.sigma, enough=self.enough)
        return in_few_shapes(program, images, masks, border="unknown")


@functools.partial(jax.jit, static_argnames=("sigma", "enough"))
def _blurred(images: Array, masks: Array, sigma: float, enough: float) -> Array:
    """uint8 [B H W 3] of uint8 images [B H W 3], of which pixels outside masks [B H W] count."""
    scales = max(1, math.ceil(math.log2(max(images.shape[1:3]) / sigma)))
    reach = math.ceil(REACH * sigma)
    weight = (~masks)[..., None].astype(jnp.float32)
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
