"""Integrated Gradients (Sundararajan et al. 2017) on the feature grid."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from capjax.captioner import CaptionNet
from capjax.explainers.contract import Maps
from capjax.explainers.gradients.path import Path, PathIntegral
from capjax.explainers.request import Request


@dataclasses.dataclass(frozen=True)
class IntegratedGradients(PathIntegral):
    """What each position adds to the score as the image's features grow from their mean.

    The path is a straight line from the baseline, the image's mean feature at every position, to
    the features. A position's value is the integral of the gradient along it, times the way it
    goes, summed over channels: positive where it makes the words likelier than the mean feature
    does. All values of a target sum to F(features) - F(baseline). How far they are from it is the
    flag `completeness_gap`, as a share of max(|F(features) - F(baseline)|, 0.1).

    Deviations: the integral is by Gauss and Legendre, which needs fewer nodes than the paper's sum;
    the paper's path lies in the space of pixels. Off-grid tokens of an encoder stay where they are.

    Attributes:
      steps: points of the path at which the gradient is taken.
    """

    NAME = "ig"

    def path(self, net: CaptionNet, variables: Any, request: Request) -> Path:
        """From the mean feature to the features; no way at positions that are padding."""
        features = request.features
        baseline = features.pooled.astype(jnp.float32)[:, None, None]
        way = features.positions.astype(jnp.float32) - baseline
        return Path(baseline, jnp.where(features.valid[..., None], way, 0.0))

    def on_grid(self, request: Request, values: Float[Array, "B Q N F P"], **others: Any) -> Maps:
        """On the grid of the features."""
        return Maps.on_features(values, request.features, **others)
