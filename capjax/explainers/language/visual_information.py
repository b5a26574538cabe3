"""How many bits of each word come from the image.

Letters: B images, Q sentences of each, N targets of each, T tokens, O other pictures.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from capjax.captioner import CaptionNet
from capjax.explainers.language.reading import log_probs_after_each
from capjax.types import Features

THRESHOLD = 1.0
"""Bits from which a word counts as the image's: it makes the word at least twice as probable."""

Source = Literal["image", "language", "against"]
"""Where a word comes from: the image; the words before it, after which any image does; or from
neither: the image makes it at most half as probable as others do."""


@dataclasses.dataclass(frozen=True, eq=False)
class VisualInformation:
    """Of every word, and then of every phrase: how much more probable the image makes it.

    `bits` is log2 p(w | image) - log2 (mean of p(w | other picture)), each after the same words
    before w: the pointwise mutual information of word and image, with the other pictures for all
    pictures there could be. `layout` is log2 p(w | image) - log2 p(w | mean feature): what is lost
    when every position holds the image's mean feature, so that it is known what is in the image and
    not where. A captioner that has no other pictures has `layout` alone, from which nobody can tell
    whether a word is the image's.

    Log-probabilities are natural, of all tokens of a word together; NaN for a word that the
    captioner was not shown.

    Attributes:
      image: [N] with the image.
      without_layout: [N] with the mean feature at every position. Tokens off the grid stay, and
        what an encoder mixed into each position before.
      others: [N] the logarithm of the mean probability with other pictures; None without any.
      pictures: how many others there are.
    """

    image: Float[np.ndarray, " N"]
    without_layout: Float[np.ndarray, " N"]
    others: Float[np.ndarray, " N"] | None = None
    pictures: int = 0

    @property
    def layout(self) -> Float[np.ndarray, " N"]:
        """[N] bits that the layout adds."""
        return (self.image - self.without_layout) / math.log(2)

    @property
    def bits(self) -> Float[np.ndarray, " N"] | None:
        """[N] bits of each word that come from the image; None without other pictures."""
        return None if self.others is None else (self.image - self.others) / math.log(2)

    def sources(self, threshold: float = THRESHOLD) -> tuple[Source | None, ...]:
        """Where each word comes from; None where that is not known.

        Args:
          threshold: bits from which it is the image.
        """
        if self.bits is None:
            return (None,) * len(self.image)
        found: list[Source | None] = []
        for bits in self.bits:
            if np.isnan(bits):
                found.append(None)
            elif bits >= threshold:
                found.append("image")
            else:
                found.append("against" if bits <= -threshold else "language")
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not known is null, or left out."""
        others = {} if self.others is None else {"others": _plain(self.others)}
        return {
            "image": _plain(self.image),
            "without_layout": _plain(self.without_layout),
            **others,
            **({"pictures": self.pictures} if others else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "VisualInformation":
        """The inverse of `to_json`."""
        image, bare = (np.array(value[name], np.float32) for name in ("image", "without_layout"))
        others = value.get("others")
        others = None if others is None else np.array(others, np.float32)
        return cls(image, bare, others, value.get("pictures", 0))


def _plain(values: Float[np.ndarray, " N"]) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 6) for value in values]


def without_layout(features: Features) -> Features:
    """The features with the image's mean feature, over all frames, at every position."""
    mean = features.pooled[:, None, None].astype(features.positions.dtype)
    positions = jnp.broadcast_to(mean, features.positions.shape)
    return Features(positions, features.extra, features.valid, features.grid)


def read_otherwise(
    net: CaptionNet,
    variables: Any,
    features: Features,
    others: Features | None,
    tokens: Int[Array, "B Q T"],
    lengths: Int[Array, "B Q"],
    weights: Float[Array, "B Q N T"],
) -> tuple[Float[Array, "B Q N"], Float[Array, "B Q N"] | None]:
    """`VisualInformation.without_layout` and `.others` of every target; pure.

    Args:
      net, variables: the captioner.
      features: of the images.
      others: of other pictures, the same for all images and batches.
      tokens, lengths, weights: see `Request`; weights are 1 at a target's tokens.
    """
    wanted, read = _wanted(tokens.shape[2], lengths, weights)
    flat = log_probs_after_each(
        net, variables, without_layout(features), tokens.swapaxes(0, 1), read.T
    )
    flat = jnp.where(wanted, flat.swapaxes(0, 1), 0.0)
    bare = jnp.einsum("bqnt,bqt->bqn", weights, flat, precision="highest")
    if others is None:
        return bare, None
    return bare, read_with_others(net, variables, features, others, tokens, lengths, weights)


def read_with_others(
    net: CaptionNet,
    variables: Any,
    features: Features,
    others: Features,
    tokens: Int[Array, "B Q T"],
    lengths: Int[Array, "B Q"],
    weights: Float[Array, "B Q N T"],
) -> Float[Array, "B Q N"]:
    """`VisualInformation.others` of every target; pure. Arguments as of `read_otherwise`."""
    batch, queries, width = tokens.shape
    wanted, lengths = _wanted(width, lengths, weights)
    count = others.positions.shape[0]
    dtype = features.positions.dtype
    others = dataclasses.replace(
        others,
        positions=others.positions.astype(dtype),
        extra=others.extra.astype(features.extra.dtype),
    )

    def for_each(leaf: Array) -> Array:
        flat = leaf.reshape(batch * queries, 1, *leaf.shape[2:])
        return jnp.broadcast_to(flat, (batch * queries, count, *leaf.shape[2:]))

    there = log_probs_after_each(net, variables, others, for_each(tokens), for_each(lengths))
    there = jnp.where(wanted[:, :, None], there.reshape(batch, queries, count, width), 0.0)
    said = jnp.einsum("bqnt,bqot->bqno", weights, there, precision="highest")
    return jax.nn.logsumexp(said, axis=-1) - math.log(count)


def _wanted(
    width: int, lengths: Int[Array, "B Q"], weights: Float[Array, "B Q N T"]
) -> tuple[Array, Int[Array, "B Q"]]:
    """Which tokens belong to a target [B Q T], and how many have to be read to know them all."""
    real = jnp.arange(width)[None, None] < lengths[..., None]
    wanted = real & jnp.any(weights != 0, axis=2)  # not the end, which is no word
    last = jnp.max(jnp.where(wanted, jnp.arange(1, width + 1)[None, None], 0), axis=-1)
    return wanted, last
