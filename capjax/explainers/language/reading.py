"""Sentences read after many images: a word at a time, and no further than the longest goes.

Letters: S sentences, R images, T tokens.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from capjax.captioner import CaptionNet
from capjax.ops.groups import in_groups
from capjax.ops.platform import on_processor
from capjax.types import NO_TOKEN, Features

PROCESSOR_ROWS = 64
"""Sentences times images that a processor reads at once: few, of about one length."""
ACCELERATOR_ROWS = 1024
"""The same of an accelerator: products large enough to fill it."""


def log_probs_after_each(
    net: CaptionNet,
    variables: Any,
    features: Features,
    tokens: Int[Array, "S R T"],
    lengths: Int[Array, "S R"],
) -> Float[Array, "S R T"]:
    """Log-probability of every token of S sentences for each of R images; pure.

    What `token_log_probs` of each sentence gives, in steps of the decoder: what it reads of an
    image is computed once for all sentences, logits are those of one word, and the loop ends with
    the longest sentence. Sentences are read in the order of their lengths, some at a time.

    Args:
      net, variables: the captioner.
      features: of R images.
      tokens: of each sentence and image; of any padding.
      lengths: beyond them the result means nothing.
    """
    images = tokens.shape[1]
    longest = jnp.max(lengths, axis=1)
    order = jnp.argsort(longest)
    ordered = (tokens[order], longest[order])

    def step(carry: Any, before: Int[Array, " R"], memory: Any) -> tuple[Any, Array]:
        stepped: Any = net.apply(variables, carry, before, memory, method="step")
        return stepped[:2]

    carry, memory = net.apply(variables, features, tokens.shape[2], method="start")
    # Before the first word all sentences are one.
    carry, hidden = step(carry, jnp.full(images, NO_TOKEN), memory)
    logits: Any = net.apply(variables, hidden, method="readout")
    opening = jax.nn.log_softmax(logits)  # [R V]

    def some(tokens: Int[Array, "S R T"], longest: Int[Array, " S"]) -> Float[Array, "S R T"]:
        many = len(tokens)
        begun = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (many, *leaf.shape)), carry)
        first = opening[jnp.arange(images)[None], tokens[:, :, 0]]
        found = jnp.zeros(tokens.shape, first.dtype).at[:, :, 0].set(first)

        def word(state: tuple[Array, Any, Array]) -> tuple[Array, Any, Array]:
            at, carry, found = state
            before = jax.lax.dynamic_index_in_dim(tokens, at - 1, 2, keepdims=False)
            said = jax.lax.dynamic_index_in_dim(tokens, at, 2)
            carry, hidden = jax.vmap(step, in_axes=(0, 0, None))(carry, before, memory)
            logits: Any = net.apply(variables, hidden, method="readout")
            chosen = jnp.take_along_axis(logits, said, axis=-1)[..., 0]
            log_probs = chosen - jax.nn.logsumexp(logits, axis=-1)
            found = jax.lax.dynamic_update_index_in_dim(found, log_probs, at, 2)
            return at + 1, carry, found

        end = jnp.max(longest)
        state = (jnp.int32(1), begun, found)
        return jax.lax.while_loop(lambda state: state[0] < end, word, state)[2]

    def at_most(rows: int) -> Any:
        return lambda *given: in_groups(some, max(1, rows // images), *given)

    found = on_processor(at_most(PROCESSOR_ROWS), at_most(ACCELERATOR_ROWS), *ordered)
    return jnp.zeros_like(found).at[order].set(found)
