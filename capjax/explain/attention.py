"""Attention maps (Xu et al. 2015, section 5.4): where the decoder looked before each word."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from capjax.captioner import CaptionNet
from capjax.types import Features


def attention(
    net: CaptionNet,
    variables: Any,
    features: Features,
    tokens: Int[Array, "B T"],
    lengths: Int[Array, " B"],
    weights: Float[Array, "B N T"],
) -> Float[Array, "B N F P"]:
    """Attention of each target, averaged over its tokens with |weights|; 0 where all are 0.

    The maps come from teacher-forcing the given tokens once, never from what a decoder kept while
    it searched: a beam that ended, was cut or changed parent cannot mix them up. For the target
    `Word(t)` the map is the attention of step t itself, and sums to one (to one minus the mass on
    off-grid tokens, which is not put back).

    Raises:
      ValueError: the decoder attends to nothing.
    """
    read: Any = net.apply(variables, features, tokens, method="teacher_force")
    _, steps = read
    if steps is None:
        raise ValueError(
            f"{type(net.decoder).__name__} has no attention to show; choose another method, "
            "for instance gradcam"
        )
    real = jnp.arange(tokens.shape[1])[None] < lengths[:, None]  # [B T]
    share = jnp.abs(weights) * real[:, None]
    total = jnp.sum(share, axis=-1, keepdims=True)
    share = share / jnp.where(total > 0, total, 1.0)
    return jnp.einsum("bnt,btfp->bnfp", share, steps.astype(jnp.float32), precision="highest")
