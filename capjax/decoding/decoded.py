"""What every decoding method is given and what it returns."""

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

Step = Callable[[Any, Int[Array, " B"]], tuple[Any, Float[Array, "B V"]]]
"""`step(carry, token) -> (carry, logits)`: one position of every sequence of a batch.

Each leaf of `carry` has the leading axis B and keeps its shape and dtype. `token` is the previous
token, `NO_TOKEN` at the first position. `logits` is the distribution of the next one.
"""


@struct.dataclass
class Decoded:
    """K hypotheses for each of B images, best first.

    Attributes:
      tokens: [B K T] ids, the end token included; 0 from `lengths` on.
      lengths: [B K] tokens of each hypothesis, the end token included. 0 marks a slot that holds
        no hypothesis, which happens only when fewer than K token sequences exist; its score is
        -inf and it comes last.
      log_probs: [B K T] natural-log probability of each token under the model itself, before
        temperature, truncation and suppression, so that teacher-forcing the tokens gives the same
        numbers; 0 from `lengths` on.
      scores: [B K] what the hypotheses are ranked by, descending.
      finished: [B K] True when the end token was written, False when `max_len` cut the caption.
    """

    tokens: Int[Array, "B K T"]
    lengths: Int[Array, "B K"]
    log_probs: Float[Array, "B K T"]
    scores: Float[Array, "B K"]
    finished: Bool[Array, "B K"]


class Method(Protocol):
    """A way to turn a step function into captions: frozen and hashable, so static under jit."""

    def decode(
        self,
        step: Step,
        carry: Any,
        *,
        batch: int,
        eos: int,
        max_len: int,
        suppress: tuple[int, ...] = (),
        keys: Key[Array, " B"] | None = None,
    ) -> Decoded:
        """Decodes `batch` sequences that start from `carry`.

        Args:
          step: advances every sequence by one token.
          carry: state of the sequences before their first token, leading axis B.
          batch: B.
          eos: the id that ends a caption.
          max_len: T, the most tokens a caption may have, its end token included.
          suppress: ids that are never written.
          keys: one key an example; only sampling draws from them.
        """
        ...


def selectable(logits: Float[Array, "... V"], suppress: tuple[int, ...]) -> Float[Array, "... V"]:
    """The logits with suppressed ids at -inf.

    Raises:
      ValueError: when an id is not in the vocabulary, or nothing is left to write.
    """
    if not suppress:
        return logits
    size = logits.shape[-1]
    outside = [token for token in suppress if not 0 <= token < size]
    if outside:
        raise ValueError(
            f"suppress={suppress} names ids {outside} outside a vocabulary of {size}; "
            f"keep ids between 0 and {size - 1}"
        )
    if len(set(suppress)) == size:
        raise ValueError(f"suppress names all {size} ids; leave at least one to write")
    return logits.at[..., jnp.asarray(suppress)].set(-jnp.inf)


def likeliest(
    logits: Float[Array, "B K V"], count: int, suppress: tuple[int, ...]
) -> tuple[Float[Array, "B K n"], Int[Array, "B K n"]]:
    """(log-probabilities, ids) of each hypothesis' best `count` words, best first.

    The log-probabilities are those of the model, as if no id were suppressed; a suppressed id has
    -inf. Equal logits: the lower id first. The vocabulary is looked through as the product wrote
    it, and none of its log-probabilities is written but the best.
    """
    logits = logits.swapaxes(0, 1)  # back to [K B V], as a vmapped step computes them
    best, ids = jax.lax.top_k(selectable(logits, suppress), min(count, logits.shape[-1]))
    log_probs = best - jax.nn.logsumexp(logits, axis=-1, keepdims=True)
    return log_probs.swapaxes(0, 1), ids.swapaxes(0, 1)


def expand(carry: Any, count: int) -> Any:
    """Each leaf [B ...] repeated to [K B ...]."""

    def repeat(leaf: Array) -> Array:
        return jnp.broadcast_to(leaf[None], (count, *leaf.shape))

    return jax.tree.map(repeat, carry)


def over_hypotheses(step: Step) -> Step:
    """The step for carries [K B ...] and tokens [B K], giving logits [B K V] in float32.

    K is a vmapped axis: whatever `step` closes over (features, their projections, weights) is
    shared by the hypotheses of an image and never repeated. Carries have it first, as the vmapped
    step computes them, so that no cache is laid out anew at every word.
    """
    wide = jax.vmap(step, in_axes=(0, 1), out_axes=(0, 1))

    def advance(carry: Any, tokens: Int[Array, "B K"]) -> tuple[Any, Float[Array, "B K V"]]:
        carry, logits = wide(carry, tokens)
        return carry, logits.astype(jnp.float32)

    return advance


def follow_parents(carry: Any, parent: Int[Array, "B K"]) -> Any:
    """The carries [K B ...] of the hypotheses at `parent`, in its order."""
    place, row = parent.T, jnp.arange(parent.shape[0])[None]
    return jax.tree.map(lambda leaf: leaf[place, row], carry)


def ranked(decoded: Decoded) -> Decoded:
    """The same hypotheses in descending order of score; equal scores keep their order."""
    order = jnp.argsort(-decoded.scores, axis=1, stable=True)
    return jax.tree.map(lambda leaf: take(leaf, order), decoded)


def written(lengths: Int[Array, "B K"], max_len: int) -> Bool[Array, "B K T"]:
    """True at the positions that hold a token."""
    positions = jax.lax.broadcasted_iota(jnp.int32, (*lengths.shape, max_len), 2)
    return positions < lengths[..., None]


def take(leaf: Array, index: Int[Array, "B K"]) -> Array:
    """For every example of leaf [B K ...], the hypotheses at `index`."""
    return jax.vmap(lambda own, chosen: own[chosen])(leaf, index)


def check_limits(eos: int, max_len: int) -> None:
    """Refuses limits under which no caption can be written."""
    if max_len < 1:
        raise ValueError(f"max_len={max_len} leaves no room for a token; choose at least 1")
    if eos < 0:
        raise ValueError(f"eos={eos} is no id; give the end token's id, for example text.eos")
