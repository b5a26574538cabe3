"""Attention that is told where to look (Liu et al. 2017): by the boxes of what a word names.

For a word whose object has boxes the target is the uniform distribution over the cells in them,
b, and the term its cross-entropy with attention: - sum over cells of b log alpha, in nats. It is
summed over such words of a caption and averaged over captions, so that parts of a batch add up.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from capjax.ops.attention_statistics import log_attention


def supervised_attention(
    attention: Float[Array, "B T F P"] | None, cells: Bool[Array, "B T P"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """(the term above, the mean share of attention that lies in the cells of such words).

    Args:
      attention: one distribution over the positions of an image a token.
      cells: in the boxes of what each token names; none for other tokens and padding.

    Raises:
      ValueError: the decoder has no attention, or one over several frames or another grid.
    """
    if attention is None or attention.shape[2:] != (1, cells.shape[-1]):
        found = "none" if attention is None else f"one over {attention.shape[2:]} (frames, cells)"
        raise ValueError(
            f"loss.lambda_supervised supervises attention over the {cells.shape[-1]} cells of an "
            f"image, and this decoder has {found}; set it to 0"
        )
    weights = attention[:, :, 0].astype(jnp.promote_types(attention.dtype, jnp.float32))
    inside = cells.astype(weights.dtype)
    count = jnp.sum(inside, axis=-1)  # [B T]
    target = inside / jnp.maximum(count, 1.0)[..., None]
    nats = -jnp.sum(target * log_attention(weights), axis=-1)
    shares = jax.lax.stop_gradient(jnp.sum(weights * inside, axis=-1))
    named = jnp.maximum(jnp.sum(count > 0), 1)
    return jnp.mean(jnp.sum(nats, axis=1)), jnp.sum(shares) / named
