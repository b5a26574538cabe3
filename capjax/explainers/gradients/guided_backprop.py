"""Guided backpropagation (Springenberg et al. 2014): gradients of what raises active units."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from capjax.captioner import CaptionNet
from capjax.encoders.encoder import Relu
from capjax.explainers.gradients.pixels import PixelGradient


def guided(relu: Relu) -> Relu:
    """`relu` whose backward pass also drops negative gradients: g becomes g 1[x > 0] 1[g > 0]."""

    @jax.custom_vjp
    def rectified(x: Array) -> Array:
        return relu(x)

    def forward(x: Array) -> tuple[Array, Array]:
        return relu(x), x

    def backward(x: Array, gradient: Array) -> tuple[Array]:
        _, pull_back = jax.vjp(relu, x)
        passed: tuple[Array] = pull_back(jnp.maximum(gradient, 0))
        return passed

    rectified.defvjp(forward, backward)
    return rectified


def check_relus(name: str, net: CaptionNet) -> None:
    """Refuses for the method `name` a net whose encoder has another nonlinearity than ReLU."""
    if not hasattr(net.encoder, "relu"):
        raise ValueError(
            f"{name} is defined for encoders of ReLUs, and {type(net.encoder).__name__} has "
            "another nonlinearity; choose saliency, gradient_input or ig_pixels"
        )


@dataclasses.dataclass(frozen=True)
class GuidedBackprop(PixelGradient):
    """The gradient by the pixels, of which the encoder's ReLUs let only the positive back; signed.
    For encoders of ReLUs alone: not for those of SiLU or GELU (EfficientNet, ViT).

    Sharp edges, which depend on the word less than they seem to: maps of this kind survive random
    weights in upper layers (Adebayo et al. 2018). Summed over a pixel's channels, for a grey level
    of 0..255. A ReLU of the decoder has its own gradient.
    """

    NAME = "guided_backprop"
    SOURCE = "Springenberg et al. 2014, section 3.4"

    def prepare(self, net: CaptionNet) -> CaptionNet:
        """The net as it is.

        Raises:
          ValueError: its encoder has no ReLU.
        """
        check_relus(self.NAME, net)
        return net

    def differentiated(self, net: CaptionNet) -> CaptionNet:
        """The net with guided ReLUs.

        Raises:
          ValueError: its encoder has no ReLU.
        """
        check_relus(self.NAME, net)
        return net.with_relu(guided)

    def read(
        self,
        net: CaptionNet,
        pixels: Float[Array, "B F H W 3"],
        gradients: Float[Array, "B F H W 3"],
    ) -> Float[Array, "B F H W"]:
        """Sum over channels."""
        del net, pixels
        return jnp.sum(gradients, axis=-1)
