"""Maps that know nothing of the captioner: what every method has to beat."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from capjax.captioner import CaptionNet
from capjax.explainers.contract import Maps, Method
from capjax.explainers.request import Request


@dataclasses.dataclass(frozen=True)
class RandomMap(Method):
    """Uniform noise, another for each word.

    Attributes:
      rows, columns: of its grid.
    """

    rows: int = 7
    columns: int = 7

    NAME = "random_map"
    COST = "none"
    SOURCE = "a baseline"
    MEASURE = None

    def __call__(self, net: CaptionNet, variables: Any, request: Request) -> dict[str, Maps]:
        """Drawn from the image's key."""
        frames = request.features.positions.shape[1]
        shape = (*request.weights.shape[1:3], frames, self.rows, self.columns)
        return {self.NAME: Maps(jax.vmap(lambda key: jax.random.uniform(key, shape))(request.keys))}


@dataclasses.dataclass(frozen=True)
class CentredBlob(Method):
    """A Gaussian about the middle, its deviation a quarter of each side: photographers' habit.

    Attributes:
      rows, columns: of its grid.
    """

    rows: int = 7
    columns: int = 7

    NAME = "centred_blob"
    COST = "none"
    SOURCE = "a baseline"
    MEASURE = None

    def __call__(self, net: CaptionNet, variables: Any, request: Request) -> dict[str, Maps]:
        """The same for every word."""
        down, across = (
            (jnp.arange(count) + 0.5) / count - 0.5 for count in (self.rows, self.columns)
        )
        blob = jnp.exp(-8 * (down[:, None] ** 2 + across[None] ** 2))
        frames = request.features.positions.shape[1]
        shape = (*request.weights.shape[:3], frames, self.rows, self.columns)
        return {self.NAME: Maps(jnp.broadcast_to(blob[(None,) * 4], shape))}
