"""Guided Grad-CAM (Selvaraju et al. 2017): fine edges, where Grad-CAM finds the word."""

import dataclasses
from typing import Any

import jax
from jaxtyping import Array, Float

from capjax.captioner import CaptionNet
from capjax.explainers.cams.gradcam import GradCAM
from capjax.explainers.cams.stage import StageMethod
from capjax.explainers.contract import Maps, Method, answer, check_inner
from capjax.explainers.gradients.guided_backprop import GuidedBackprop, check_relus
from capjax.explainers.request import Request
from capjax.ops.image import resize


@dataclasses.dataclass(frozen=True)
class GuidedGradCAM(Method):
    """Guided backpropagation times the positive part of a class activation map, upsampled; signed.
    For encoders of ReLUs alone.

    Zero where the class activation map speaks against the word, or says nothing.

    Attributes:
      cam: the class activation map, of a method that explains log-probabilities by the map of a
        stage; its rectified values are bilinear between cell centres.
    """

    cam: StageMethod = GradCAM()

    NAME = "guided_gradcam"
    COST = "that of gradcam and of guided_backprop"
    SOURCE = "Selvaraju et al. 2017, section 3.2"

    def __post_init__(self) -> None:
        check_inner(self, self.cam, GradCAM.NAME)
        if not isinstance(self.cam, StageMethod):
            raise ValueError(
                f"got cam={self.cam.NAME}, which is no class activation map; choose gradcam, "
                "gradcam_plus, hirescam or layercam"
            )

    def prepare(self, net: CaptionNet) -> CaptionNet:
        """The net that the class activation map needs.

        Raises:
          ValueError: the encoder has no ReLU.
        """
        check_relus(self.NAME, net)
        return self.cam.prepare(net)

    def __call__(self, net: CaptionNet, variables: Any, request: Request) -> dict[str, Maps]:
        """Maps on the grid of the pixels."""
        coarse = answer(self.cam, net, variables, request)[self.cam.NAME].values
        (fine,) = GuidedBackprop()(net, variables, request).values()
        size = (fine.values.shape[-2], fine.values.shape[-1])
        return {self.NAME: Maps(_upsampled(coarse, size) * fine.values)}


def _upsampled(
    maps: Float[Array, "B Q N F h w"], size: tuple[int, int]
) -> Float[Array, "B Q N F H W"]:
    return resize(jax.nn.relu(maps)[..., None], size)[..., 0]
