"""Measures how sharp attention is and how far it moves from word to word, one number a caption.

Also its logarithm, for losses.

Letters: B captions, T tokens, F frames, P positions.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

SMALLEST = 1e-30
"""Smallest attention weight that a logarithm is taken of."""


def log_attention(attention: Float[Array, "*N"]) -> Float[Array, "*N"]:
    """Logarithm in float32 or wider, finite and without gradient where attention is 0."""
    wide = attention.astype(jnp.promote_types(attention.dtype, jnp.float32))
    return jnp.log(jnp.maximum(wide, SMALLEST))


def entropy(attention: Float[Array, "B T F P"], mask: Float[Array, "B T"]) -> Float[Array, " B"]:
    """Mean entropy of a caption's maps, in nats: 0 for one position, log(F * P) for uniform maps.

    Args:
      attention: one distribution over F * P a token.
      mask: 1 for tokens that count, the end token included.
    """
    weights = attention.astype(jnp.float32)
    # xlogy would do, but its gradient is not needed: the where keeps 0 log 0 at 0.
    terms = jnp.where(weights > 0, -weights * jnp.log(jnp.where(weights > 0, weights, 1.0)), 0.0)
    per_token = jnp.sum(terms, axis=(2, 3))
    return jnp.sum(per_token * mask, axis=1) / jnp.maximum(jnp.sum(mask, axis=1), 1.0)


def mean_pairwise_distance(
    attention: Float[Array, "B T F P"], mask: Float[Array, "B T"]
) -> Float[Array, " B"]:
    """Mean total-variation distance between the maps of two different tokens of a caption.

    0: the map never moves from word to word (flat attention); 1: no two maps overlap. Total
    variation is half the sum of absolute differences. Captions with fewer than two tokens give 0.

    Args:
      attention: one distribution over F * P a token.
      mask: 1 for tokens that count, the end token included.
    """
    maps = attention.astype(jnp.float32).reshape(*attention.shape[:2], -1)
    difference = jnp.abs(maps[:, :, None] - maps[:, None])  # [B T T F*P]
    distance = 0.5 * jnp.sum(difference, axis=-1)
    pairs = mask[:, :, None] * mask[:, None]
    count = jnp.sum(mask, axis=1)
    total = jnp.sum(distance * pairs, axis=(1, 2))
    return total / jnp.maximum(count * (count - 1.0), 1.0)
