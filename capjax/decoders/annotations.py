"""The annotation vectors of an image as attention reads them, the same for every word.

Shapes: L annotation vectors of size D, A attention size, F frames of P positions.
"""

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float

from capjax.ops import platform
from capjax.ops.linear import batched_product
from capjax.types import Features


@struct.dataclass
class Memory:
    """What attention reads at every step; computed once an image.

    Attributes:
      values: [B L D] annotation vectors a_i.
      keys: [B L A] their projection for the attention score.
      valid: [B L] False for padding, which gets no attention.
      share: [B F P] how much of an annotation vector's attention a position gets: 1, or its share
        of the frame's mean.
    """

    values: Float[Array, "B L D"]
    keys: Float[Array, "B L A"]
    valid: Bool[Array, "B L"]
    share: Float[Array, "B F P"]

    def on_grid(self, alpha: Float[Array, "B *T L"]) -> Float[Array, "B *T F P"]:
        """Attention of positions from that of annotation vectors."""
        batch, frames, positions = self.share.shape
        folded = alpha.reshape(*alpha.shape[:-1], frames, alpha.shape[-1] // frames)
        if folded.shape[-1] == positions:
            return folded
        return folded * self.share.reshape(batch, *(1,) * (alpha.ndim - 2), frames, positions)


def pooled(features: Features, values: Float[Array, "B L D"]) -> Float[Array, "B D"]:
    """`features.pooled`; on a TPU from `values`, the rounded copy, which is read anyway."""

    def exact(features: Features, values: Array) -> Array:
        del values
        return features.pooled

    def rounded(features: Features, values: Array) -> Array:
        share = features.valid.reshape(values.shape[:2]).astype(jnp.float32)
        count = jnp.maximum(jnp.sum(share, axis=1, keepdims=True), 1.0)
        return batched_product("bl,bld->bd", share, values) / count

    if values.dtype != jnp.bfloat16:
        return features.pooled
    return platform.on_tpu(rounded, exact, features, values)
