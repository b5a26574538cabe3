"""Attention rollout (Abnar & Zuidema 2020, arXiv 2005.00928, section 3.1).

A transformer encoder mixes its tokens: what is stored at a position came from elsewhere too.
Rollout follows attention back through the layers to the patches that went in.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from capjax.captioner import CaptionNet
from capjax.explainers.attention import attention
from capjax.types import Features

Fusion = Literal["mean", "max", "min"]
FUSIONS: Mapping[str, Callable[..., Array]] = {"mean": jnp.mean, "max": jnp.max, "min": jnp.min}


def rollout(
    attentions: Float[Array, "*B L H S S"],
    *,
    fusion: Fusion = "mean",
    discard: float = 0.0,
    residual: float = 0.5,
) -> Float[Array, "*B S S"]:
    """How much of each input token (last axis) is in each output token; every row sums to one.

        A_l = residual I + (1 - residual) fused_l,    rollout = A_L ... A_2 A_1

    The paper fuses heads by their mean and discards nothing; the other choices are those of the
    popular vit-explain (Gildenblat 2020). Rows of `fused_l` are brought to one after fusing and
    discarding.

    Args:
      attentions: of every layer, the first first; rows sum to one.
      fusion: of heads.
      discard: share of each row, its smallest entries, that counts as nothing. vit-explain takes
        the smallest of a whole matrix, which can empty a row.
      residual: weight of the shortcut beside attention.

    Raises:
      ValueError: an unknown fusion, or shares outside [0, 1).
    """
    if fusion not in FUSIONS:
        raise ValueError(f"unknown fusion {fusion!r}; choose one of: {', '.join(FUSIONS)}")
    for name, share in (("discard", discard), ("residual", residual)):
        if not 0 <= share < 1:
            raise ValueError(f"got {name}={share}; expected at least 0 and less than 1")
    tokens = attentions.shape[-1]
    fused = FUSIONS[fusion](attentions.astype(jnp.float32), axis=-3)  # [*B L S S]
    if dropped := int(discard * tokens):
        smallest_kept = jnp.sort(fused, axis=-1)[..., dropped : dropped + 1]
        fused = jnp.where(fused >= smallest_kept, fused, 0.0)
    total = jnp.sum(fused, axis=-1, keepdims=True)
    fused = fused / jnp.where(total > 0, total, 1.0)
    eye = jnp.eye(tokens).reshape((1,) * (fused.ndim - 2) + (tokens, tokens))
    mixed = residual * eye + (1 - residual) * fused

    def layer(seen: Array, mixing: Array) -> tuple[Array, None]:
        return jnp.matmul(mixing, seen, precision="highest"), None

    layers = jnp.moveaxis(mixed, -3, 0)
    return jax.lax.scan(layer, layers[0], layers[1:])[0]


def attention_rollout(
    net: CaptionNet,
    variables: Any,
    features: Features,
    tokens: Int[Array, "B T"],
    lengths: Int[Array, " B"],
    weights: Float[Array, "B N T"],
) -> Float[Array, "B N F P"]:
    """The decoder's attention over positions, followed back to the patches that went in.

    What the decoder gives to off-grid tokens, and what of a position came from them, lies on no
    patch and is left out: a word's map sums to one minus that mass, and is not brought to one.
    Heads by their mean, nothing discarded.

    Raises:
      ValueError: the features hold no attention of their encoder, or the decoder has none.
    """
    if features.attentions is None:
        raise ValueError(
            "the features hold no attention of their encoder, which rollout follows back; "
            "encode with the net of `capjax.explainers.maps.net_for`, or choose another method"
        )
    maps = attention(net, variables, features, tokens, lengths, weights)
    cells = maps.shape[-1]
    sources = rollout(features.attentions)[..., -cells:, -cells:]
    return jnp.einsum("bnfq,bfqp->bnfp", maps, sources, precision="highest")
