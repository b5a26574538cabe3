"""What a text encoder gives, and how tokens become one vector a text."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

SMALLEST_COUNT = 1e-9  # of sentence-transformers' mean
SMALLEST_LENGTH = 1e-12  # of PyTorch's normalize


class Encoded(NamedTuple):
    """What an encoder gives for each text.

    Attributes:
      hidden: [B T D] of each token, after the last layer.
      embedding: [B N] of the whole text, float32.
    """

    hidden: Float[Array, "B T D"]
    embedding: Float[Array, "B N"]


def masked_mean(hidden: Float[Array, "B T D"], mask: Bool[Array, "B T"]) -> Float[Array, "B D"]:
    """Mean over a text's own tokens, special ones included, in float32; 0 for no token at all."""
    weight = mask[..., None].astype(jnp.float32)
    total = jnp.sum(hidden.astype(jnp.float32) * weight, axis=1)
    return total / jnp.maximum(jnp.sum(weight, axis=1), SMALLEST_COUNT)


def unit_length(vectors: Float[Array, "B N"]) -> Float[Array, "B N"]:
    """Vectors of Euclidean length 1, so that a dot product is a cosine; zeros stay."""
    length = jnp.sqrt(jnp.sum(vectors**2, axis=-1, keepdims=True))
    return vectors / jnp.maximum(length, SMALLEST_LENGTH)
