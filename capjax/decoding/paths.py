"""The loop of the methods whose hypotheses never meet: greedy decoding and sampling."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from capjax.decoding.decoded import Decoded, Step, check_limits, expand, over_hypotheses, ranked
from capjax.types import NO_TOKEN

Choose = Callable[[Float[Array, "B K V"], Int[Array, ""]], Int[Array, "B K"]]
"""`choose(logits, position) -> tokens`: the method itself."""


class _Paths(NamedTuple):
    """The loop's state: position reached, the model's carry [K B ...], and what was written."""

    position: Int[Array, ""]
    carry: Any
    last: Int[Array, "B K"]
    tokens: Int[Array, "B K T"]
    log_probs: Float[Array, "B K T"]
    lengths: Int[Array, "B K"]
    finished: Bool[Array, "B K"]


def follow(
    step: Step, carry: Any, choose: Choose, *, batch: int, count: int, eos: int, max_len: int
) -> Decoded:
    """Writes `count` captions an image, each token picked by `choose`; score = sum of log p.

    Stops when every caption has ended, at the latest after `max_len` tokens.
    """
    check_limits(eos, max_len)
    advance = over_hypotheses(step)

    def going(paths: _Paths) -> Bool[Array, ""]:
        return (paths.position < max_len) & ~jnp.all(paths.finished)

    def write(paths: _Paths) -> _Paths:
        carry, logits = advance(paths.carry, paths.last)
        chosen = choose(logits, paths.position)
        log_prob = jnp.take_along_axis(
            jax.nn.log_softmax(logits, axis=-1), chosen[..., None], axis=-1
        )[..., 0]
        token = jnp.where(paths.finished, 0, chosen)
        log_prob = jnp.where(paths.finished, 0.0, log_prob)
        return _Paths(
            position=paths.position + 1,
            carry=carry,
            last=token,
            tokens=paths.tokens.at[:, :, paths.position].set(token),
            log_probs=paths.log_probs.at[:, :, paths.position].set(log_prob),
            lengths=paths.lengths + ~paths.finished,
            finished=paths.finished | (chosen == eos),
        )

    shape = (batch, count)
    paths = jax.lax.while_loop(
        going,
        write,
        _Paths(
            position=jnp.zeros((), jnp.int32),
            carry=expand(carry, count),
            last=jnp.full(shape, NO_TOKEN, jnp.int32),
            tokens=jnp.zeros((*shape, max_len), jnp.int32),
            log_probs=jnp.zeros((*shape, max_len), jnp.float32),
            lengths=jnp.zeros(shape, jnp.int32),
            finished=jnp.zeros(shape, bool),
        ),
    )
    return ranked(
        Decoded(
            tokens=paths.tokens,
            lengths=paths.lengths,
            log_probs=paths.log_probs,
            scores=jnp.sum(paths.log_probs, axis=-1),
            finished=paths.finished,
        )
    )
