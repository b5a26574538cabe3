"""Gradients by the pixels of the pictures: what methods that take them have in common."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from capjax.captioner import CaptionNet
from capjax.explainers.contract import Maps, Method
from capjax.explainers.request import Request
from capjax.types import Features


def pictures(method: Method, request: Request) -> Float[Array, "B F H W 3"]:
    """The images of a request in float32, each as a clip of one frame, or its clips.

    Raises:
      ValueError: the request has features only.
    """
    if request.images is None:
        raise ValueError(
            f"{method.NAME} takes gradients by the pixels, and this request has features only; "
            "give images, or choose ig or gradcam"
        )
    images = jnp.asarray(request.images, jnp.float32)
    return images if images.ndim == 5 else images[:, None]


def seeing(net: CaptionNet, variables: Any) -> Callable[[Float[Array, "B F H W 3"]], Features]:
    """How the score depends on `pictures`, for `Request.gradients`."""

    def see(pixels: Float[Array, "B F H W 3"]) -> Features:
        features: Any = net.apply(variables, pixels, method="encode")
        return features

    return see


@dataclasses.dataclass(frozen=True)
class PixelGradient(Method):
    """A method that reads one gradient by the pixels a target.

    Pixels count on the 0..255 scale, before the encoder's normalisation. The gradient sees all
    paths: attention, the gate, the initial state, and the whole unrolled decoder. Earlier words are
    constants.
    """

    COST = "one pass forward, and one backward through decoder and encoder a target"

    @abc.abstractmethod
    def read(
        self,
        net: CaptionNet,
        pixels: Float[Array, "B F H W 3"],
        gradients: Float[Array, "B F H W 3"],
    ) -> Float[Array, "B F H W"]:
        """The maps of one target."""

    def differentiated(self, net: CaptionNet) -> CaptionNet:
        """The net whose gradients are read: it answers as `net` does."""
        return net

    def __call__(self, net: CaptionNet, variables: Any, request: Request) -> dict[str, Maps]:
        """Maps on the grid of the pixels."""
        pixels = pictures(self, request)

        def use(gradients: Float[Array, "B F H W 3"]) -> Float[Array, "B F H W"]:
            return self.read(net, pixels, gradients)

        own = self.differentiated(net)
        values = request.gradients(own, variables, pixels, use, seeing(own, variables))
        return {self.NAME: Maps(values)}
