"""Grad-CAM (Selvaraju et al. 2017) on the feature map, for the words of a caption."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from capjax.captioner import CaptionNet, token_log_probs
from capjax.types import Features


def weighted_activations(
    activations: Float[Array, "F P D"],
    gradients: Float[Array, "F P D"],
    valid: Bool[Array, "F P"],
) -> Float[Array, "F P"]:
    """sum_k alpha_k A^k with alpha_k the mean gradient over a frame's valid positions (eqs 1, 2).

    Deviation from equation 2: no ReLU. Evidence against the word stays visible as negative
    values; the paper's map is `jax.nn.relu` of this one.
    """
    count = jnp.maximum(jnp.sum(valid, axis=-1), 1)[:, None]
    alpha = jnp.sum(jnp.where(valid[..., None], gradients, 0.0), axis=1) / count  # [F D]
    maps = jnp.einsum("fpd,fd->fp", activations, alpha, precision="highest")
    return jnp.where(valid, maps, 0.0)


def gradcam(
    net: CaptionNet,
    variables: Any,
    features: Features,
    tokens: Int[Array, "B T"],
    lengths: Int[Array, " B"],
    weights: Float[Array, "B N T"],
) -> Float[Array, "B N F P"]:
    """Signed Grad-CAM of each target's log-probability, all targets from one forward pass.

    The gradient is taken with respect to the feature map after the encoder, so it sees attention,
    the gate and the initial state. Earlier words are constants, but the states they led to depend
    on the features, so the gradient flows through the whole unrolled decoder. Log-probability
    rather than the paper's pre-softmax score: evidence for competing words counts against the map.
    A feature map with F frames gets one channel weight a frame.
    """

    def scores(positions: Float[Array, "B F P D"]) -> Float[Array, "B T"]:
        moved = dataclasses.replace(features, positions=positions)
        return token_log_probs(net, variables, moved, tokens)

    real = jnp.arange(tokens.shape[1])[None] < lengths[:, None]  # [B T]
    positions = features.positions.astype(jnp.float32)
    _, pull_back = jax.vjp(scores, positions)

    def one_target(weight: Float[Array, "B T"]) -> Float[Array, "B F P"]:
        (gradients,) = pull_back(jnp.where(real, weight, 0.0))
        return jax.vmap(weighted_activations)(positions, gradients, features.valid)

    return jax.vmap(one_target, in_axes=1, out_axes=1)(weights)
