"""Attention maps (Xu et al. 2015, section 5.4): where the decoder looked before each word."""

from typing import Any

import jax
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
    steps, _ = _read(net, variables, features, tokens)
    return _of_targets(steps, lengths, weights)


def attention_choice(
    net: CaptionNet,
    variables: Any,
    features: Features,
    tokens: Int[Array, "B T"],
    lengths: Int[Array, " B"],
    weights: Float[Array, "B N T"],
) -> Float[Array, "B N F P"]:
    """The position each target reads with hard attention: 1 there and 0 elsewhere.

    What a captioner of `reading` "argmax" or "sample" read; where it reads the expectation, the
    most attended position (ties: the first). A phrase is the average of its tokens.

    Raises:
      ValueError: the decoder attends to nothing.
    """
    steps, chosen = _read(net, variables, features, tokens)
    if chosen is None:
        flat = steps.reshape(*steps.shape[:2], -1)
        best = jax.nn.one_hot(jnp.argmax(flat, axis=-1), flat.shape[-1])
        chosen = best.reshape(steps.shape)
    return _of_targets(chosen, lengths, weights)


def _read(
    net: CaptionNet, variables: Any, features: Features, tokens: Int[Array, "B T"]
) -> tuple[Float[Array, "B T F P"], Float[Array, "B T F P"] | None]:
    """Attention of every step, and the positions chosen where attention is hard."""
    read: Any = net.apply(
        variables, features, tokens, method="teacher_force", mutable=["selection"]
    )
    (_, steps), selection = read
    if steps is None:
        raise ValueError(
            f"{type(net.decoder).__name__} has no attention to show; choose another method, "
            "for instance gradcam"
        )
    chosen = selection.get("selection", {}).get("decoder", {}).get("chosen", (None,))
    return steps, chosen[0]


def _of_targets(
    steps: Float[Array, "B T F P"], lengths: Int[Array, " B"], weights: Float[Array, "B N T"]
) -> Float[Array, "B N F P"]:
    """The average over a target's tokens with |weights|."""
    real = jnp.arange(steps.shape[1])[None] < lengths[:, None]  # [B T]
    share = jnp.abs(weights) * real[:, None]
    total = jnp.sum(share, axis=-1, keepdims=True)
    share = share / jnp.where(total > 0, total, 1.0)
    return jnp.einsum("bnt,btfp->bnfp", share, steps.astype(jnp.float32), precision="highest")
