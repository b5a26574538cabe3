"""Log-sum-exp over the vocabulary, and the logit of one word, without all logits at once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from capjax.ops import platform, vocabulary_kernels
from capjax.ops.groups import in_groups
from capjax.ops.linear import affine


class VocabularyLoss(NamedTuple):
    """Of each row of states.

    Attributes:
      total: log-sum-exp of its logits.
      logit: of its word.
    """

    total: Float[Array, "*N"]
    logit: Float[Array, "*N"]


def vocabulary_loss(
    states: Float[Array, "*N h"],
    kernel: Float[Array, "h V"],
    bias: Float[Array, " V"],
    chosen: Int[Array, "*N"],
    *,
    dtype: Any,
    rows: int,
) -> VocabularyLoss:
    """What a cross-entropy needs of `affine(states, kernel, bias, dtype)`; float32.

    Its negative log-likelihoods are `total - logit`. In bfloat16 a program for a TPU runs one
    kernel that never writes logits (see `vocabulary_kernels`), and so does one for an NVIDIA GPU
    from Ampere on, with JAX before 0.12; all others compute the logits of so many rows at a time.
    The kernels have no gradient, and XLA does not divide them over devices: call this inside
    `jax.shard_map` where there are several.

    Args:
      states: rows, of any leading axes.
      kernel, bias: the last layer.
      chosen: a word for each row.
      dtype: of the product; it accumulates in float32.
      rows: whose logits may be in memory at once, where they are.
    """
    shape = chosen.shape
    flat = states.reshape(-1, states.shape[-1]).astype(dtype)
    arguments = (flat, kernel.astype(dtype), bias, chosen.reshape(-1))

    def in_blocks(states: Array, kernel: Array, bias: Array, chosen: Array) -> Any:
        def block(states: Array, chosen: Array) -> tuple[Array, Array]:
            logits = affine(states, kernel, bias, dtype)
            logit = jnp.take_along_axis(logits, chosen[:, None], axis=1)[:, 0]
            return jax.nn.logsumexp(logits, axis=1), logit

        return in_groups(block, rows, states, chosen)

    if jnp.dtype(dtype) == jnp.bfloat16:
        kernels: dict[str, Callable[..., Any]] = {"tpu": vocabulary_kernels.tpu}
        if platform.triton_runs():
            kernels["cuda"] = vocabulary_kernels.gpu
        found = jax.lax.platform_dependent(*arguments, **kernels, default=in_blocks)
    else:
        found = in_blocks(*arguments)
    total, logit = found
    return VocabularyLoss(total.reshape(shape), logit.reshape(shape))
