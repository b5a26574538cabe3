"""Gradients by the pixels of the pictures: what methods that take them have in common."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float

from capjax.captioner import CaptionNet
from capjax.explainers.contract import Maps, Method, clips
from capjax.explainers.request import Request
from capjax.types import Features


def seeing(net: CaptionNet, variables: Any) -> Callable[[Float[Array, "B F H W 3"]], Features]:
    """How the score depends on `clips`, for `Request.gradients`."""

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
        pixels = clips(self, request)

        def use(gradients: Float[Array, "B F H W 3"]) -> Float[Array, "B F H W"]:
            return self.read(net, pixels, gradients)

        own = self.differentiated(net)
        values = request.gradients(own, variables, pixels, use, seeing(own, variables))
        return {self.NAME: Maps(values)}
