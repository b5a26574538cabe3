"""Eigen-CAM (Muhammad & Yeasin 2020): what a stage shows most of, whatever is asked."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from capjax.captioner import CaptionNet
from capjax.explainers.cams.stage import StageMethod
from capjax.explainers.contract import Maps
from capjax.explainers.request import Request

OF_NO_WORD = (
    "this map is the same for every word: it shows what stands out in the picture, not what was "
    "said of it."
)
"""What a reader is told of every map."""


@dataclasses.dataclass(frozen=True)
class EigenCAM(StageMethod):
    """The stage's activations, projected on their first right singular vector.

    It reads no word: all words of an image get one map. Of a clip one vector serves all frames.
    The paper leaves the sign open; here the map's sum is not negative. As in the paper, nothing is
    subtracted from the activations first.

    Attributes:
      stage: name of an encoder's stage (ResNet layer3, MobileNet block_5, VGG conv5_3); empty: the
        map that the decoder reads.
    """

    NAME = "eigencam"
    COST = "eigenvectors of a matrix of positions or of channels, whichever are fewer, an image"
    SOURCE = "Muhammad & Yeasin 2020, section III"
    MEASURE = None
    CONTRASTS = False

    def notes(self, flags: Mapping[str, Any], words: Sequence[str]) -> list[str]:
        """That the map is of no word."""
        return [OF_NO_WORD]

    def __call__(self, net: CaptionNet, variables: Any, request: Request) -> dict[str, Maps]:
        """One map an image, given to each of its targets."""
        seen = self.activations(request)
        maps = jax.vmap(first_component)(seen.values)[:, None, None]  # [B 1 1 F P]
        shape = (*request.weights.shape[:3], *maps.shape[3:])
        return seen.answered(self.NAME, jnp.broadcast_to(maps, shape))


def first_component(activations: Float[Array, "F P D"]) -> Float[Array, "F P"]:
    """A v with v the first right singular vector of A [F*P D]; its sum is not negative."""
    flat = activations.reshape(-1, activations.shape[-1])
    cells, channels = flat.shape
    # Both products have the squares of the singular values for eigenvalues, in rising order.
    if channels <= cells:
        gram = jnp.matmul(flat.T, flat, precision="highest")
        found = jnp.matmul(flat, jnp.linalg.eigh(gram)[1][:, -1], precision="highest")
    else:
        gram = jnp.matmul(flat, flat.T, precision="highest")
        squares, vectors = jnp.linalg.eigh(gram)
        found = vectors[:, -1] * jnp.sqrt(jnp.maximum(squares[-1], 0.0))
    return jnp.where(jnp.sum(found) < 0, -found, found).reshape(activations.shape[:2])
