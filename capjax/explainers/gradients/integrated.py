"""Integrated Gradients (Sundararajan et al. 2017) on the feature grid."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from capjax.captioner import CaptionNet
from capjax.explainers.contract import InParts, Maps
from capjax.explainers.request import Request
from capjax.types import Features

LEAST_CHANGE = 0.1
"""Of the score, in the completeness gap: a share of less than this says nothing."""
LARGE_GAP = 0.05
"""A reader is told of the words whose completeness gap is larger."""


@dataclasses.dataclass(frozen=True)
class IntegratedGradients(InParts):
    """What each position adds to the score as the image's features grow from their mean.

    The path is a straight line from the baseline, the image's mean feature at every position, to
    the features. A position's value is the integral of the gradient along it, times the way it
    goes, summed over channels: positive where it makes the words likelier than the mean feature
    does. All values of a target sum to F(features) - F(baseline). How far they are from it is the
    flag `completeness_gap`, as a share of max(|F(features) - F(baseline)|, 0.1).

    Deviations: the integral is by Gauss and Legendre, which needs fewer nodes than the paper's sum;
    the paper's path lies in the space of pixels. Off-grid tokens of an encoder stay where they are.

    Attributes:
      steps: nodes of the integral.
    """

    steps: int = 8

    NAME = "ig"
    COST = "`steps` times one pass forward and one backward a target"
    SOURCE = "Sundararajan et al. 2017, equation 1"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"got steps={self.steps}; expected 1 or more")

    def notes(self, flags: Mapping[str, Any], words: Sequence[str]) -> list[str]:
        """Which words' maps do not add up."""
        gaps = zip(words, flags["completeness_gap"], strict=True)
        open_ones = [f"{word} ({gap:.0%})" for word, gap in gaps if gap > LARGE_GAP]
        if not open_ones:
            return []
        return [
            f"with steps={self.steps} the maps do not add up to the change of the score for "
            f"{', '.join(open_ones)}; more steps bring them nearer."
        ]

    def parts(self, request: Request) -> int:
        """One node a part."""
        return self.steps

    def start(self, net: CaptionNet, variables: Any, request: Request) -> Float[Array, "B Q N F P"]:
        """Zeros."""
        shape = (*request.weights.shape[:3], *request.features.positions.shape[1:3])
        return jnp.zeros(shape, jnp.float32)

    def step(
        self,
        net: CaptionNet,
        variables: Any,
        request: Request,
        tally: Float[Array, "B Q N F P"],
        index: Int[Array, ""],
    ) -> Float[Array, "B Q N F P"]:
        """Adds what node `index` has to say."""
        nodes, shares = np.polynomial.legendre.leggauss(self.steps)
        place = jnp.asarray((nodes + 1) / 2, jnp.float32)[index]
        share = jnp.asarray(shares / 2, jnp.float32)[index]
        baseline, way = _path(request.features)
        positions = jnp.broadcast_to(baseline + place * way, way.shape)

        def use(gradients: Float[Array, "B F P D"]) -> Float[Array, "B F P"]:
            return jnp.sum(gradients * way, axis=-1)

        return tally + share * request.gradients(net, variables, positions, use)

    def finish(
        self,
        net: CaptionNet,
        variables: Any,
        request: Request,
        tally: Float[Array, "B Q N F P"],
    ) -> dict[str, Maps]:
        """The maps, and how far their sums are from the difference of the scores."""
        features = request.features
        baseline, way = _path(features)
        ends = [
            request.score(net, variables, features=_moved(features, place))
            for place in (baseline, baseline + way)
        ]
        change = ends[1] - ends[0]
        missing = jnp.abs(jnp.sum(tally, axis=(-1, -2)) - change)
        gap = missing / jnp.maximum(jnp.abs(change), LEAST_CHANGE)
        return {self.NAME: Maps.on_features(tally, features, flags={"completeness_gap": gap})}


def _path(features: Features) -> tuple[Float[Array, "B 1 1 D"], Float[Array, "B F P D"]]:
    """The baseline, and the way from it to the features; none at positions that are padding."""
    baseline = features.pooled.astype(jnp.float32)[:, None, None]
    way = features.positions.astype(jnp.float32) - baseline
    return baseline, jnp.where(features.valid[..., None], way, 0.0)


def _moved(features: Features, positions: Array) -> Features:
    return dataclasses.replace(
        features, positions=jnp.broadcast_to(positions, features.positions.shape)
    )
