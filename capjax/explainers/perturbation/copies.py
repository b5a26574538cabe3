"""Copies of a picture with something taken away, and what every target scores on each.

Copies of all pictures go through the encoder as one batch. The decoder reads them side by side:
the sentence before each word is embedded once a picture.

Letters: B images, K copies of each, Q sentences, N targets, F frames (1 of an image).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from capjax.captioner import CaptionNet
from capjax.explainers.request import Request

AT_ONCE = 16
"""Copies of each picture that are read at once. It bounds the memory and changes no number."""


@dataclasses.dataclass(frozen=True)
class Parts:
    """Samples that are taken a few at a time; the last part may go beyond the end.

    Attributes:
      number: of samples.
      size: of each part.
    """

    number: int
    size: int

    @classmethod
    def even(cls, number: int) -> "Parts":
        """Parts with as little as possible beyond the end."""
        return cls(number, -(-number // -(-number // AT_ONCE)))

    @classmethod
    def full(cls, number: int) -> "Parts":
        """Parts of as many as are read at once: they begin at multiples of that."""
        return cls(number, min(number, AT_ONCE))

    @property
    def count(self) -> int:
        """How many parts there are."""
        return -(-self.number // self.size)

    def samples(self, index: Int[Array, ""]) -> Int[Array, " K"]:
        """The numbers of the samples of part `index`."""
        return index * self.size + jnp.arange(self.size)

    def room(self, *shape: int) -> Float[Array, "B S ..."]:
        """Zeros for what all samples give; `shape` without their axis, which comes second."""
        return jnp.zeros((shape[0], self.count * self.size, *shape[1:]), jnp.float32)

    def put(self, found: Array, part: Float[Array, "B K ..."], index: Int[Array, ""]) -> Array:
        """`found`, made by `room`, with what part `index` gave."""
        return jax.lax.dynamic_update_slice_in_dim(found, part, index * self.size, axis=1)

    def all(
        self, scores: Callable[[Int[Array, " K"]], Float[Array, "B K ..."]]
    ) -> Float[Array, "B S ..."]:
        """`scores` of every sample, part by part."""
        found = jax.lax.map(lambda index: scores(self.samples(index)), jnp.arange(self.count))
        found = jnp.moveaxis(found, 0, 1)  # [B parts K ...]
        return found.reshape(found.shape[0], -1, *found.shape[3:])[:, : self.number]


def covered(
    pictures: Float[Array, "B F H W 3"],
    covers: Float[Array, "B F H W 3"],
    shown: Float[Array, "B K F H W"] | Bool[Array, "#B K F H W"],
) -> Float[Array, "B K F H W 3"]:
    """Pictures where they are shown, and what covers them elsewhere.

    Args:
      pictures, covers: on the 0..255 scale.
      shown: bool, or a share of 0 to 1: in the encoder's own scale, too, a mean of both.
    """
    pictures, covers, shown = pictures[:, None], covers[:, None], shown[..., None]
    if shown.dtype == bool:
        return jnp.where(shown, pictures, covers)
    return covers + shown * (pictures - covers)


def scores(
    net: CaptionNet, variables: Any, request: Request, copies: Float[Array, "B K F H W 3"]
) -> Float[Array, "B K Q N"]:
    """The scalar of every target on every copy."""
    rows, count = copies.shape[:2]
    together = copies.reshape(rows * count, *copies.shape[2:])
    seen = net.apply(variables, together, method="encode")
    apart = jax.tree.map(lambda leaf: leaf.reshape(rows, count, *leaf.shape[1:]), seen)
    read = jax.vmap(
        lambda features: request.score(net, variables, features=features), in_axes=1, out_axes=1
    )
    return read(apart)


def whole(net: CaptionNet, variables: Any, request: Request) -> Float[Array, "B Q N"]:
    """The scalar of every target on the pictures as they are."""
    return request.score(net, variables, features=request.features)
