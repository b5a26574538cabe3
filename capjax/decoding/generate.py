"""Captions of a captioner: its step function handed to a decoding method."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from capjax.captioner import CaptionNet
from capjax.decoding.decoded import Decoded, Method
from capjax.decoding.rounding import rounded
from capjax.text.protocol import Text
from capjax.types import Features


def never_written(text: Text) -> tuple[int, ...]:
    """Ids that no caption may hold: padding, start token and unknown word, unless they are the
    end token."""
    return tuple(sorted({text.pad, text.bos, text.unk} - {text.eos}))


def generate(
    net: CaptionNet,
    variables: Any,
    features: Features,
    method: Method,
    *,
    eos: int,
    max_len: int,
    suppress: tuple[int, ...] = (),
    keys: Key[Array, " B"] | None = None,
) -> Decoded:
    """K captions for each image, best first. Pure; under jit `variables, features, keys` are
    arrays and everything else is static. Weights that products round are rounded once, before the
    loop.

    Args:
      net: the captioner's modules.
      variables: its parameters and statistics.
      features: what `net.encode` gave, B images.
      method: `Greedy()`, `Beam(...)`, `Sample(...)` or any other `Method`.
      eos: id of the end token.
      max_len: most tokens of a caption, its end token included.
      suppress: ids that are never written; see `never_written`.
      keys: one typed key an example, from `capjax.rng.per_example`; needed by `Sample` only.
    """
    apply: Any = net.apply
    batch = features.positions.shape[0]
    carry, memory = apply(variables, features, max_len, method="start")

    def advance(
        weights: tuple[Any, Any, Any], carry: Any, token: Int[Array, " B"]
    ) -> tuple[Any, Float[Array, "B V"]]:
        stepping, reading, memory = weights
        carry, hidden, _ = apply(stepping, carry, token, memory, method="step")
        return carry, apply(reading, hidden, method="readout")

    # Twice, since a table of words may be looked up as it is and multiplied rounded.
    weights = (variables, variables, memory)
    weights = rounded(advance, weights, carry, jax.ShapeDtypeStruct((batch,), jnp.int32))

    def step(carry: Any, token: Int[Array, " B"]) -> tuple[Any, Float[Array, "B V"]]:
        return advance(weights, carry, token)

    return method.decode(
        step,
        carry,
        batch=batch,
        eos=eos,
        max_len=max_len,
        suppress=suppress,
        keys=keys,
    )
