"""Gradient times input (Shrikumar et al. 2016): what each pixel adds to a linearised score."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from capjax.captioner import CaptionNet
from capjax.explainers.gradients.pixels import PixelGradient


@dataclasses.dataclass(frozen=True)
class GradientInput(PixelGradient):
    """The gradient by each pixel, times how far the pixel is from the mean colour; signed.

    The input is the normalised one, as the encoder is given it: its zero is the mean colour of
    the encoder's preprocessing, so that pixels of that colour have no share. The sum over channels
    is the same whatever they are divided by. Where the score is linear, the map sums to what it
    gains over a picture of the mean colour alone.
    """

    NAME = "gradient_input"
    SOURCE = "Shrikumar et al. 2016 (arXiv 1605.01713), section 3"

    def read(
        self,
        net: CaptionNet,
        pixels: Float[Array, "B F H W 3"],
        gradients: Float[Array, "B F H W 3"],
    ) -> Float[Array, "B F H W"]:
        """Sum over channels of (x - mean) dF/dx."""
        mean = jnp.asarray(net.mean, jnp.float32).reshape(1, 1, 1, 1, 3)
        return jnp.sum((pixels - mean) * gradients, axis=-1)
