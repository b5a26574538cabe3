"""Beam search by the rule of Show, Attend and Tell's released code, with length normalisation."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from capjax.decoding.decoded import (
    Decoded,
    Step,
    check_limits,
    expand,
    follow_parents,
    likeliest,
    over_hypotheses,
    ranked,
    take,
    written,
)
from capjax.types import NO_TOKEN


@dataclasses.dataclass(frozen=True)
class Beam:
    """The best captions that a search of bounded width finds.

    The rule (Xu et al. 2015, released code): of all one-token extensions of the live hypotheses
    the best `width - finished` by summed log p are kept; those that end in the end token leave the
    live set for good, with their place, so the live set shrinks by one for each. At `max_len` the
    live ones are returned too, flagged unfinished, and compete on the same score. Width 1 is
    greedy decoding; a width of V ** T is exhaustive. Equal sums: the better parent first, then its
    likelier word, then the lower id.

    Since every finished hypothesis keeps its place, no bound on what a live one may still reach is
    needed: the loop ends once all places of all images are finished.

    Deviation: the release divides by the length or not at all; here score = sum of log p /
    length ** length_penalty, and the length counts the end token.

    Attributes:
      width: K, hypotheses an image.
      length_penalty: 0 ranks by the plain sum, 1 by the mean log-probability of a token.
    """

    width: int = 3
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width={self.width} keeps no hypothesis; choose at least 1")

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
        """See `Method.decode`; `keys` is not used."""
        del keys
        check_limits(eos, max_len)
        advance = over_hypotheses(step)

        def going(beams: _Beams) -> Bool[Array, ""]:
            live = ~beams.finished & (beams.total > -jnp.inf)
            return (beams.position < max_len) & jnp.any(live)

        def extend(beams: _Beams) -> _Beams:
            carry, logits = advance(beams.carry, beams.last)
            return _extend(beams._replace(carry=carry), logits, eos=eos, suppress=suppress)

        start = _start(expand(carry, self.width), (batch, self.width), max_len)
        beams = jax.lax.while_loop(going, extend, start)
        exists = beams.total > -jnp.inf
        lengths = jnp.where(exists, beams.lengths, 0)
        filled = written(lengths, max_len)
        scale = jnp.maximum(lengths, 1).astype(jnp.float32) ** self.length_penalty
        return ranked(
            Decoded(
                tokens=jnp.where(filled, beams.tokens, 0),
                lengths=lengths,
                log_probs=jnp.where(filled, beams.log_probs, 0.0),
                scores=beams.total / scale,
                finished=beams.finished,
            )
        )


class _Beams(NamedTuple):
    """The loop's state: the model's carry [K B ...] and K places an image.

    A place is finished, live, or empty; an empty one has a total of -inf.
    """

    position: Int[Array, ""]
    carry: Any
    last: Int[Array, "B K"]
    tokens: Int[Array, "B K T"]
    log_probs: Float[Array, "B K T"]
    lengths: Int[Array, "B K"]
    total: Float[Array, "B K"]
    finished: Bool[Array, "B K"]


def _start(carry: Any, shape: tuple[int, int], max_len: int) -> _Beams:
    """One live hypothesis an image, without a token; the other places are empty."""
    return _Beams(
        position=jnp.zeros((), jnp.int32),
        carry=carry,
        last=jnp.full(shape, NO_TOKEN, jnp.int32),
        tokens=jnp.zeros((*shape, max_len), jnp.int32),
        log_probs=jnp.zeros((*shape, max_len), jnp.float32),
        lengths=jnp.zeros(shape, jnp.int32),
        total=jnp.full(shape, -jnp.inf).at[:, 0].set(0.0),
        finished=jnp.zeros(shape, bool),
    )


def _extend(
    beams: _Beams, logits: Float[Array, "B K V"], *, eos: int, suppress: tuple[int, ...]
) -> _Beams:
    """One position further: finished hypotheses keep a place, the best extensions get the rest."""
    # The best of each parent, then of all.
    log_probs, ids = likeliest(logits, logits.shape[1], suppress)  # [B K fewer]
    batch, width, fewer = ids.shape
    extended = beams.total[..., None] + log_probs
    # A finished hypothesis has one extension, itself, which goes before every other.
    itself = jnp.full(extended.shape, -jnp.inf).at[..., 0].set(jnp.inf)
    priority = jnp.where(beams.finished[..., None], itself, extended)
    best, chosen = jax.lax.top_k(priority.reshape(batch, width * fewer), width)  # [B K]

    def pick(leaf: Array) -> Array:
        return jnp.take_along_axis(leaf.reshape(batch, width * fewer), chosen, axis=1)

    parent = chosen // fewer
    stays = best == jnp.inf
    exists = best > -jnp.inf  # fewer extensions than places leave some of them empty
    token = jnp.where(stays, 0, pick(ids))
    gained = pick(log_probs)
    return _Beams(
        position=beams.position + 1,
        carry=follow_parents(beams.carry, parent),
        last=token,
        tokens=take(beams.tokens, parent).at[:, :, beams.position].set(token),
        log_probs=take(beams.log_probs, parent)
        .at[:, :, beams.position]
        .set(jnp.where(stays, 0.0, gained)),
        lengths=take(beams.lengths, parent) + (exists & ~stays),
        total=jnp.where(stays, take(beams.total, parent), best),
        finished=stays | (exists & (token == eos)),
    )
