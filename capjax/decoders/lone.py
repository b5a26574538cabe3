"""A position that is alone: caption-guided saliency shows a captioner one position of an image.

It gets all attention whatever its score, so that nothing has to ask for it; and with a scalar gate,
or none, its context is a multiple of it, so that what multiplies the context multiplies the
position, once for all words:

    z_t W = sigmoid(g_t + b_g) (v W)
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from capjax.ops.linear import product


def is_alone(positions: int, gates: int) -> bool:
    """Whether all contexts are multiples of one vector: of one position, by at most one gate."""
    return positions == 1 and gates <= 1


def read(
    h: Float[Array, "B n"], kernels: Sequence[Array]
) -> tuple[Float[Array, "B A"], Float[Array, "B G"], Float[Array, "B 4n"]]:
    """Query (zeros: nothing asks), gate and recurrent part of an `AttentionLSTM`'s step.

    The gate is a sum and not the column of a product: arrays of rows of a single number, which a
    TPU's compiler lays out with positions innermost, would turn the layout of the states around.

    Args:
      h: the state before the step.
      kernels: W_q, W_g and W_r, in the dtype of products.
    """
    query, gate, recurrent = kernels
    rounded = h.astype(gate.dtype).astype(h.dtype)
    gates = [jnp.sum(rounded * column.astype(h.dtype)[None], axis=1) for column in gate.T]
    read = jnp.stack(gates, axis=1) if gates else jnp.zeros((h.shape[0], 0), h.dtype)
    nothing = jnp.zeros((h.shape[0], query.shape[1]), h.dtype)
    return nothing, read, product(h, recurrent, recurrent.dtype)
