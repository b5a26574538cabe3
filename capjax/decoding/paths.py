"""The loop of the methods whose hypotheses never meet: greedy decoding and sampling."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from capjax.decoding.decoded import (
    Decoded,
    Step,
    check_limits,
    expand,
    follow_parents,
    over_hypotheses,
    ranked,
    take,
)
from capjax.types import NO_TOKEN

Choose = Callable[[Float[Array, "B N V"], Int[Array, ""], Int[Array, "B N"]], Int[Array, "B N"]]
"""`choose(logits, position, numbers) -> tokens`: the method itself.

`numbers` says which of an image's K captions each of the N rows belongs to.
"""


class _Written(NamedTuple):
    """What was written at N places an image."""

    numbers: Int[Array, "B N"]
    tokens: Int[Array, "B N T"]
    log_probs: Float[Array, "B N T"]
    lengths: Int[Array, "B N"]
    finished: Bool[Array, "B N"]


class _Paths(NamedTuple):
    """The loop's state: position reached, the model's carry [N B ...], last words, all words."""

    position: Int[Array, ""]
    carry: Any
    last: Int[Array, "B N"]
    written: _Written


def follow(
    step: Step, carry: Any, choose: Choose, *, batch: int, count: int, eos: int, max_len: int
) -> Decoded:
    """Writes `count` captions an image, each token picked by `choose`; score = sum of log p.

    Stops when every caption has ended, at the latest after `max_len` tokens. The longest of many
    captions takes twice as many words as their mean: once no image has more than a third of its
    captions left to write, a loop with so many places goes on.
    """
    check_limits(eos, max_len)
    advance = over_hypotheses(step)

    def write(paths: _Paths) -> _Paths:
        carry, logits = advance(paths.carry, paths.last)
        before = paths.written
        chosen = choose(logits, paths.position, before.numbers)
        log_prob = jnp.take_along_axis(
            jax.nn.log_softmax(logits, axis=-1), chosen[..., None], axis=-1
        )[..., 0]
        token = jnp.where(before.finished, 0, chosen)
        log_prob = jnp.where(before.finished, 0.0, log_prob)
        written = before._replace(
            tokens=before.tokens.at[:, :, paths.position].set(token),
            log_probs=before.log_probs.at[:, :, paths.position].set(log_prob),
            lengths=before.lengths + ~before.finished,
            finished=before.finished | (chosen == eos),
        )
        return _Paths(paths.position + 1, carry, token, written)

    shape = (batch, count)
    paths = _Paths(
        position=jnp.zeros((), jnp.int32),
        carry=expand(carry, count),
        last=jnp.full(shape, NO_TOKEN, jnp.int32),
        written=_Written(
            numbers=jnp.broadcast_to(jnp.arange(count, dtype=jnp.int32), shape),
            tokens=jnp.zeros((*shape, max_len), jnp.int32),
            log_probs=jnp.zeros((*shape, max_len), jnp.float32),
            lengths=jnp.zeros(shape, jnp.int32),
            finished=jnp.zeros(shape, bool),
        ),
    )
    ended = []
    for fewer in (count // 3, 0) if count >= 3 else (0,):

        def going(paths: _Paths, fewer: int = fewer) -> Bool[Array, ""]:
            left = jnp.max(jnp.sum(~paths.written.finished, axis=1))
            return (paths.position < max_len) & (left > fewer)

        paths = jax.lax.while_loop(going, write, paths)
        if fewer:
            paths, out = _narrowed(paths, fewer)
            ended.append(out)
    every = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), *ended, paths.written)
    order = jnp.argsort(every.numbers, axis=1)
    every = jax.tree.map(lambda leaf: take(leaf, order), every)
    return ranked(
        Decoded(
            tokens=every.tokens,
            lengths=every.lengths,
            log_probs=every.log_probs,
            scores=jnp.sum(every.log_probs, axis=-1),
            finished=every.finished,
        )
    )


def _narrowed(paths: _Paths, fewer: int) -> tuple[_Paths, _Written]:
    """(the first so many paths, those without an end first, and what was written of the others)."""
    order = jnp.argsort(paths.written.finished, axis=1, stable=True)
    stay = order[:, :fewer]

    def written(those: Int[Array, "B n"]) -> _Written:
        return jax.tree.map(lambda leaf: take(leaf, those), paths.written)

    carry = follow_parents(paths.carry, stay)
    kept = _Paths(paths.position, carry, take(paths.last, stay), written(stay))
    return kept, written(order[:, fewer:])
