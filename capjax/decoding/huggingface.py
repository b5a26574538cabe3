"""Beam search by the rule of the transformers library."""

import dataclasses
from typing import Any, Literal, NamedTuple

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
    take,
    written,
)
from capjax.types import NO_TOKEN

Counts = Literal["generated", "words", "start_and_words"]


@dataclasses.dataclass(frozen=True)
class HuggingFaceBeam:
    """The captions that `transformers` generates with `num_beams`.

    The rule (transformers 5): K live hypotheses an image, always. At each position the best 2K
    one-token extensions are looked at. Of those that end, or reach `max_len`, the ones among the
    first K compete with the K best finished so far, by sum of log p / length ** length_penalty;
    an end token further down is lost. The best K of the others live on. An image is done once no
    live hypothesis would beat the worst of K finished ones if it ended now; that is a guess, since
    a longer caption may score better, and `early_stopping` chooses other ones.

    Deviation: the model card's captions were scored by length without the end token; transformers
    counts it since 4.50, and so does the default here, so that captions equal those of the library
    as it is installed today. `counts="words"` is the rule of before.

    `Beam` differs: there a finished hypothesis takes its place with it, and nothing is guessed.

    Attributes:
      width: K, `num_beams`.
      length_penalty: 0 ranks by the plain sum; above 0 favours longer captions.
      early_stopping: True: done as soon as K hypotheses are finished; "never": the guess is for
        the length `max_len`.
      counts: what a length is: "generated" tokens with the end token (transformers 4.50 and
        later), "words" without it (since November 2023), or "start_and_words", with the start
        token (before). Only the length is that of earlier versions, the rest is today's.
    """

    width: int = 4
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    counts: Counts = "generated"

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width={self.width} keeps no hypothesis; choose at least 1")
        if self.early_stopping not in (True, False, "never"):
            raise ValueError(
                f"unknown early_stopping {self.early_stopping!r}; choose True, False or 'never'"
            )
        if self.counts not in ("generated", "words", "start_and_words"):
            raise ValueError(
                f"unknown counts {self.counts!r}; choose 'generated', 'words' or 'start_and_words'"
            )

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

        def going(search: _Search) -> Bool[Array, ""]:
            going = (search.position < max_len) & jnp.any(search.open)
            if self.early_stopping is True:
                going &= ~jnp.all(search.done.scores > -jnp.inf)
            return going

        def extend(search: _Search) -> _Search:
            # Not when the parents were chosen: here the copy is part of the cache's update.
            carry = follow_parents(search.carry, search.parent)
            carry, logits = advance(carry, search.live.last)
            candidates = _candidates(search.live, logits, search.position, self.width, suppress)
            return self._choose(search, carry, candidates, eos=eos, max_len=max_len)

        start = _start(expand(carry, self.width), (batch, self.width), max_len)
        done = jax.lax.while_loop(going, extend, start).done
        filled = written(done.lengths, max_len)
        return Decoded(
            tokens=jnp.where(filled, done.tokens, 0),
            lengths=done.lengths,
            log_probs=jnp.where(filled, done.log_probs, 0.0),
            scores=done.scores,
            finished=done.ended,
        )

    def _choose(
        self,
        search: "_Search",
        carry: Any,
        candidates: "_Candidates",
        *,
        eos: int,
        max_len: int,
    ) -> "_Search":
        """What lives on and what is finished after one more position."""
        count = search.position + 1
        live, parent, total = candidates
        ends = (live.last == eos) & (total > -jnp.inf)
        stops = ends | (count == max_len)

        going_on, chosen = jax.lax.top_k(jnp.where(stops, -jnp.inf, total), self.width)
        beams = jax.tree.map(lambda leaf: take(leaf, chosen), live)._replace(total=going_on)

        full = jnp.all(search.done.scores > -jnp.inf, axis=1)
        may_end = search.open & ~full if self.early_stopping is True else search.open
        among_first = jnp.arange(total.shape[1])[None] < self.width
        score = total / self._length(count, ends) ** self.length_penalty
        score = jnp.where(stops & among_first & may_end[:, None], score, -jnp.inf)
        fresh = _Done(
            tokens=live.tokens,
            log_probs=live.log_probs,
            lengths=jnp.where(score > -jnp.inf, count, 0),
            scores=score,
            ended=ends & (score > -jnp.inf),
        )
        both = jax.tree.map(
            lambda old, new: jnp.concatenate([old, new], axis=1), search.done, fresh
        )
        _, best = jax.lax.top_k(both.scores, self.width)
        done = jax.tree.map(lambda leaf: take(leaf, best), both)

        longest = self.early_stopping == "never" and self.length_penalty > 0
        length = self._length(jnp.asarray(max_len) if longest else count, jnp.zeros((), bool))
        hope = going_on[:, 0] / length**self.length_penalty
        return _Search(
            position=count,
            carry=carry,
            parent=take(parent, chosen),
            live=beams,
            done=done,
            open=search.open & (hope > done.scores[:, -1]),
        )

    def _length(self, count: Int[Array, ""], ends: Bool[Array, "*N"]) -> Float[Array, "*N"]:
        """The length of hypotheses of `count` tokens, the end token included where there is one."""
        without_end = count - (ends & (self.counts != "generated"))
        length = without_end + (self.counts == "start_and_words")
        return jnp.maximum(length, 1).astype(jnp.float32)


class _Live(NamedTuple):
    """Hypotheses that may go on: last token, all tokens and their log p [. . T], and the sum."""

    last: Int[Array, "B K"]
    tokens: Int[Array, "B K T"]
    log_probs: Float[Array, "B K T"]
    total: Float[Array, "B K"]


class _Done(NamedTuple):
    """Finished hypotheses, best first; a score of -inf marks an empty place."""

    tokens: Int[Array, "B K T"]
    log_probs: Float[Array, "B K T"]
    lengths: Int[Array, "B K"]
    scores: Float[Array, "B K"]
    ended: Bool[Array, "B K"]


class _Search(NamedTuple):
    """The loop's state; `parent` says whose carry each live hypothesis goes on with."""

    position: Int[Array, ""]
    carry: Any
    parent: Int[Array, "B K"]
    live: _Live
    done: _Done
    open: Bool[Array, " B"]


class _Candidates(NamedTuple):
    """The best 2K extensions of an image, best first."""

    live: _Live
    parent: Int[Array, "B 2K"]
    total: Float[Array, "B 2K"]


def _start(carry: Any, shape: tuple[int, int], max_len: int) -> _Search:
    """One live hypothesis an image, without a token; nothing is finished."""
    tokens = jnp.zeros((*shape, max_len), jnp.int32)
    log_probs = jnp.zeros((*shape, max_len), jnp.float32)
    nothing = jnp.full(shape, -jnp.inf)
    return _Search(
        position=jnp.zeros((), jnp.int32),
        carry=carry,
        parent=jnp.zeros(shape, jnp.int32),
        live=_Live(
            jnp.full(shape, NO_TOKEN, jnp.int32), tokens, log_probs, nothing.at[:, 0].set(0.0)
        ),
        done=_Done(tokens, log_probs, jnp.zeros(shape, jnp.int32), nothing, jnp.zeros(shape, bool)),
        open=jnp.ones(shape[:1], bool),
    )


def _candidates(
    live: _Live,
    logits: Float[Array, "B K V"],
    position: Int[Array, ""],
    width: int,
    suppress: tuple[int, ...],
) -> _Candidates:
    """The best 2K of all extensions, among the best 2K of each hypothesis."""
    log_prob, token = likeliest(logits, 2 * width, suppress)  # [B K 2K]
    batch, _, offered = token.shape
    total = (live.total[..., None] + log_prob).reshape(batch, -1)
    total, chosen = jax.lax.top_k(total, min(2 * width, total.shape[1]))
    parent = chosen // offered

    def of(values: Array) -> Array:
        return jnp.take_along_axis(values.reshape(total.shape[0], -1), chosen, axis=1)

    return _Candidates(
        _Live(
            last=of(token),
            tokens=take(live.tokens, parent).at[:, :, position].set(of(token)),
            log_probs=take(live.log_probs, parent).at[:, :, position].set(of(log_prob)),
            total=total,
        ),
        parent,
        total,
    )
