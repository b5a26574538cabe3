"""Greedy decoding: the likeliest token at every position."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from capjax.decoding.decoded import Decoded, Step, selectable
from capjax.decoding.paths import follow


@dataclasses.dataclass(frozen=True)
class Greedy:
    """The likeliest token at every position, the lower id where two are equally likely; K = 1."""

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
        """See `Method.decode`; the score is the caption's log-probability, `keys` is not used."""
        del keys

        def likeliest(logits: Float[Array, "B N V"], *_: Array) -> Array:
            return jnp.argmax(selectable(logits, suppress), axis=-1)

        return follow(step, carry, likeliest, batch=batch, count=1, eos=eos, max_len=max_len)
