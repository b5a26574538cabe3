"""Fills holes by a thin plate, on whatever device JAX runs."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array

from capjax.inpaint.fills.contract import Fill, Images, Masks
from capjax.inpaint.fills.few_shapes import in_few_shapes
from capjax.inpaint.thin_plate import STEPS, TENSION, thin_plate


@dataclasses.dataclass(frozen=True)
class Plate(Fill):
    """The known pixels continued with as little bending and stretching as can be.

    Without tension it solves what `biharmonic` solves, about: coarser scales first, and a few steps
    at each, which leaves it smoother where a hole is wide. Each picture depends on itself alone,
    but for a rounding to the next of 255 levels: sums of another batch may be added in another
    order.

    Attributes:
      steps: of conjugate gradients at the finest scale; each coarser one takes twice as many.
      tension: what stretching counts beside bending, from 0 to 1. Bending alone overshoots beside
        edges and in noise, stretching alone leaves a crease at the rim.
    """

    NAME = "plate"
    COST = "some hundred passes over small scales; one program for pictures of similar sizes"
    SOURCE = (
        "splines in tension (Smith & Wessel 1990) by cascadic multigrid "
        "(Bornemann & Deuflhard 1996)"
    )

    steps: int = STEPS
    tension: float = TENSION

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 256:
            raise ValueError(f"got plate.steps={self.steps}; expected 1 to 256")
        if not 0 <= self.tension <= 1:
            raise ValueError(f"got plate.tension={self.tension}; expected 0 to 1")

    def paint(self, images: Images, masks: Masks) -> Images:
        """The plate, and the pictures around it."""
        program = functools.partial(_plated, steps=self.steps, tension=self.tension)
        return in_few_shapes(program, images, masks, border="edge")


@functools.partial(jax.jit, static_argnames=("steps", "tension"))
def _plated(images: Array, masks: Array, steps: int, tension: float) -> Array:
    """uint8 [B H W 3] of uint8 images [B H W 3] and masks [B H W]."""
    shown = images.astype(jnp.float32) / 127.5 - 1.0
    found = thin_plate(shown, masks[..., None], steps=steps, tension=tension)
    return jnp.clip(jnp.rint((found + 1.0) * 127.5), 0, 255).astype(jnp.uint8)
