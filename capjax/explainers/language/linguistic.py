"""What each word owes to each word before it.

Letters: B images, Q sentences of each, N targets of each, T tokens, m embedding size.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from capjax.captioner import CaptionNet, log_probs_after
from capjax.decoders.cell import READ_WORDS, moved_words
from capjax.ops.groups import in_groups
from capjax.types import Features

Way = Literal["leave_one_out", "gradient"]
"""How the effect of an earlier word is found.

"leave_one_out": how much less probable a word is when the captioner reads an unknown word in place
of the earlier one. Where its vocabulary has no unknown word, it reads the mean of all embeddings.
"gradient": gradient x input, the slope of the word's log-probability by the earlier word's
embedding, times the embedding: to first order what an embedding of zero would take away.
"""

SENTENCES_AT_ONCE = 256
"""Sentences that are read at once with a word left out."""


def effects_of_words(
    way: Way,
    net: CaptionNet,
    variables: Any,
    features: Features,
    tokens: Int[Array, "B Q T"],
    lengths: Int[Array, "B Q"],
    weights: Float[Array, "B Q N T"],
    unknown: int | None,
) -> Float[Array, "B Q N N"]:
    """Nats that each earlier target (last axis) adds to the log-probability of each target; pure.

    Of targets that are not earlier it means nothing. The image is seen all the while, so that an
    effect goes through the decoder's state, and with it through where it looks.

    Args:
      way: see `Way`.
      net, variables: the captioner.
      features: of the images.
      tokens, lengths, weights: see `Request`; weights are 1 at a target's tokens.
      unknown: id of the unknown word; None where the vocabulary has none.

    Raises:
      ValueError: the decoder does not tell what embeddings it reads.
    """
    real = jnp.arange(tokens.shape[2])[None, None] < lengths[..., None]

    def of_sentence(given: tuple[Array, Array, Array]) -> Float[Array, "B N N"]:
        tokens, real, used = given
        embedded = embedded_words(net, variables, features, tokens)
        # What is read at a step is the word before: a target's words are read one step later.
        read = jnp.pad(used[..., :-1], ((0, 0), (0, 0), (1, 0)))

        def scores(delta: Float[Array, "B T m"]) -> Float[Array, "B N"]:
            moved = moved_words(variables, delta)
            hidden, _ = net.apply(moved, features, tokens, method="teacher_force")
            log_probs = jnp.where(real, log_probs_after(net, variables, hidden, tokens), 0.0)
            return jnp.einsum("bnt,bt->bn", used, log_probs, precision="highest")

        if way == "gradient":
            return _by_gradient(scores, embedded, read)
        table: Any = net.apply(variables, method=lambda net: net.decoder.embeddings)
        instead = jnp.mean(table, axis=0) if unknown is None else table[unknown]
        return _by_leaving_out(scores, embedded, read, instead.astype(embedded.dtype))

    by_sentence = jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), (tokens, real, weights))
    found = jax.lax.map(of_sentence, by_sentence)
    return found.swapaxes(0, 1)


def _by_leaving_out(
    scores: Callable[[Array], Array],
    embedded: Float[Array, "B T m"],
    read: Float[Array, "B N T"],
    instead: Float[Array, " m"],
) -> Float[Array, "B N N"]:
    whole = scores(jnp.zeros_like(embedded))

    def without(chosen: Float[Array, "N B T"]) -> Float[Array, "N B N"]:
        def one(chosen: Float[Array, "B T"]) -> Float[Array, "B N"]:
            return scores(jnp.where(chosen[..., None] > 0, instead[None, None] - embedded, 0.0))

        return whole[None] - jax.vmap(one)(chosen)

    at_once = max(1, SENTENCES_AT_ONCE // len(embedded))
    return jnp.moveaxis(in_groups(without, at_once, read.swapaxes(0, 1)), 0, 2)


def _by_gradient(
    scores: Callable[[Array], Array],
    embedded: Float[Array, "B T m"],
    read: Float[Array, "B N T"],
) -> Float[Array, "B N N"]:
    values, pull_back = jax.vjp(scores, jnp.zeros_like(embedded))

    def one(chosen: Float[Array, " N"]) -> Float[Array, "B N"]:
        (slope,) = pull_back(jnp.broadcast_to(chosen, values.shape))
        share = jnp.sum(slope * embedded, axis=-1)
        return jnp.einsum("bnt,bt->bn", read, share, precision="highest")

    return jax.vmap(one, out_axes=1)(jnp.eye(values.shape[1], dtype=values.dtype))


def embedded_words(
    net: CaptionNet, variables: Any, features: Features, tokens: Int[Array, "B T"]
) -> Float[Array, "B T m"]:
    """The embeddings that teacher forcing reads: of the first input, and of all words but the last.

    Raises:
      ValueError: the decoder does not tell.
    """
    _, recorded = net.apply(
        variables, features, tokens, method="teacher_force", mutable=[READ_WORDS]
    )
    found: Any = recorded.get(READ_WORDS, {}).get("decoder", {}).get("embedded")
    if found is None:
        raise ValueError(
            f"{type(net.decoder).__name__} does not tell what embeddings it reads, which the "
            "effect of a word on later ones needs; call cell.read_words in its teacher forcing"
        )
    return found[0]


def earlier_alone(
    effects: Float[np.ndarray, "N N"], spans: Sequence[tuple[int, int]]
) -> Float[np.ndarray, "N N"]:
    """Bits that each word (row) owes to each earlier one (column); zero for all others.

    Args:
      effects: nats, of `effects_of_words`.
      spans: (start, end) tokens of each word; of a word that was not read both are equal.
    """
    read = [end > start for start, end in spans]
    earlier = [
        [read[row] and read[column] and column < row for column in range(len(spans))]
        for row in range(len(spans))
    ]
    return np.where(earlier, effects / math.log(2), 0.0).astype(np.float32)
