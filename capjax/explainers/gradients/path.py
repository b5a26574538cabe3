"""Integrals of gradients along a straight line, by Gauss and Legendre, a node at a time."""

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

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


class Path(NamedTuple):
    """A straight line from a baseline.

    Attributes:
      baseline: [B ... D], or what broadcasts to it.
      way: from there to the end.
      see: the features of a place; None: places are positions of the request's features.
    """

    baseline: Float[Array, "..."]
    way: Float[Array, "B *S D"]
    see: Callable[[Array], Features] | None = None

    def at(self, share: float | Array) -> Float[Array, "B *S D"]:
        """The place that is this share of the way from the baseline."""
        return jnp.broadcast_to(self.baseline + share * self.way, self.way.shape)


@dataclasses.dataclass(frozen=True)
class PathIntegral(InParts):
    """The integral of the gradient along a path, times the way it goes, summed over channels.

    All values of a target sum to F(end) - F(baseline). How far they are from it is the flag
    `completeness_gap`, as a share of max(|F(end) - F(baseline)|, 0.1).

    Attributes:
      steps: points of the path at which the gradient is taken.
    """

    steps: int = 8

    COST = "`steps` times one pass forward and one backward per word"
    SOURCE = "Sundararajan et al. 2017, equation 1"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"got steps={self.steps}; expected 1 or more")

    @abc.abstractmethod
    def path(self, net: CaptionNet, variables: Any, request: Request) -> Path:
        """From the baseline to what was seen."""

    @abc.abstractmethod
    def on_grid(self, request: Request, values: Float[Array, "B Q N *S"], **others: Any) -> Maps:
        """Maps of one value a place of the path."""

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

    def start(self, net: CaptionNet, variables: Any, request: Request) -> Float[Array, "B Q N *S"]:
        """Zeros."""
        path = self.path(net, variables, request)
        return jnp.zeros((*request.weights.shape[:3], *path.way.shape[1:-1]), jnp.float32)

    def step(
        self,
        net: CaptionNet,
        variables: Any,
        request: Request,
        tally: Float[Array, "B Q N *S"],
        index: Int[Array, ""],
    ) -> Float[Array, "B Q N *S"]:
        """Adds what node `index` has to say."""
        nodes, shares = np.polynomial.legendre.leggauss(self.steps)
        node = jnp.asarray((nodes + 1) / 2, jnp.float32)[index]
        share = jnp.asarray(shares / 2, jnp.float32)[index]
        path = self.path(net, variables, request)

        def use(gradients: Float[Array, "B *S D"]) -> Float[Array, "B *S"]:
            return jnp.sum(gradients * path.way, axis=-1)

        found = request.gradients(net, variables, path.at(node), use, path.see)
        return tally + share * found

    def finish(
        self,
        net: CaptionNet,
        variables: Any,
        request: Request,
        tally: Float[Array, "B Q N *S"],
    ) -> dict[str, Maps]:
        """The maps, and how far their sums are from the difference of the scores."""
        path = self.path(net, variables, request)

        def score(share: float) -> Float[Array, "B Q N"]:
            place = path.at(share)
            seen = (
                dataclasses.replace(request.features, positions=place)
                if path.see is None
                else path.see(place)
            )
            return request.score(net, variables, features=seen)

        change = score(1.0) - score(0.0)
        missing = jnp.abs(jnp.sum(tally.reshape(*change.shape, -1), axis=-1) - change)
        gap = missing / jnp.maximum(jnp.abs(change), LEAST_CHANGE)
        return {self.NAME: self.on_grid(request, tally, flags={"completeness_gap": gap})}
