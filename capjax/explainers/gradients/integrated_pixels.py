"""Integrated Gradients (Sundararajan et al. 2017) at the pixels."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args

from jaxtyping import Array, Float

from capjax.captioner import CaptionNet
from capjax.explainers.contract import Maps, clips
from capjax.explainers.gradients.path import Path, PathIntegral
from capjax.explainers.gradients.pixels import seeing
from capjax.explainers.perturbation.covers import Cover, cover
from capjax.explainers.request import Request

Baseline = Literal["black", "mean", "blurred"]
_COVERS: Mapping[Baseline, Cover] = {"black": "zero", "mean": "mean", "blurred": "blur"}


@dataclasses.dataclass(frozen=True)
class IntegratedGradientsPixels(PathIntegral):
    """What each pixel adds to the score as the picture grows out of a baseline picture; signed.

    The path is a straight line in the space of pixels, 0..255, whatever the encoder's
    normalisation. All values of a target sum to F(picture) - F(baseline). How far they are from it
    is the flag `completeness_gap`, as a share of max(|F(picture) - F(baseline)|, 0.1). A pixel that
    the baseline shows alike has no share: dark things have none from black.

    Deviation: the integral is by Gauss and Legendre instead of the paper's sum.

    Attributes:
      steps: points of the path at which the gradient is taken.
      baseline: "black"; "mean", the colour that the encoder's normalisation takes for zero; or
        "blurred", the picture itself without its details.
    """

    steps: int = 32
    baseline: Baseline = "black"

    NAME = "ig_pixels"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.baseline not in get_args(Baseline):
            known = ", ".join(get_args(Baseline))
            raise ValueError(f"got baseline={self.baseline}; choose one of: {known}")

    def path(self, net: CaptionNet, variables: Any, request: Request) -> Path:
        """From the baseline picture to the picture."""
        pixels = clips(self, request)
        baseline = cover(net, pixels, _COVERS[self.baseline])
        return Path(baseline, pixels - baseline, seeing(net, variables))

    def on_grid(self, request: Request, values: Float[Array, "B Q N F H W"], **others: Any) -> Maps:
        """On the grid of the pixels."""
        del request
        return Maps(values, **others)
