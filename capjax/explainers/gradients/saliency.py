"""Saliency (Simonyan et al. 2013): how strongly a word depends on each pixel."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from capjax.captioner import CaptionNet
from capjax.explainers.gradients.pixels import PixelGradient


@dataclasses.dataclass(frozen=True)
class Saliency(PixelGradient):
    """The size of the gradient by each pixel: the largest over its three channels.

    Unsigned by definition: where the words depend on a pixel, not which way. Change of the score
    for a grey level of 0..255.

    Deviation: the paper explains a class score before the softmax; measure "logit" does that here.
    """

    NAME = "saliency"
    SOURCE = "Simonyan et al. 2013, section 3.1"

    def read(
        self,
        net: CaptionNet,
        pixels: Float[Array, "B F H W 3"],
        gradients: Float[Array, "B F H W 3"],
    ) -> Float[Array, "B F H W"]:
        """max |dF/dx|."""
        del net, pixels
        return jnp.max(jnp.abs(gradients), axis=-1)
