"""Random numbers: typed keys, derived by name, step and example id, never by batch shape.

A draw belongs to an example (its id) and a position in it, so that the same example gets the same
mask whatever else is in its batch, however the batch is padded and however many devices share it.
"""

import zlib
from typing import overload

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key


def stream(key: Key[Array, ""], name: str) -> Key[Array, ""]:
    """The named child of `key`: independent of every other name, equal in every process."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


@overload
def child(keys: Key[Array, " B"], name: str) -> Key[Array, " B"]: ...
@overload
def child(keys: None, name: str) -> None: ...
def child(keys: Key[Array, " B"] | None, name: str) -> Key[Array, " B"] | None:
    """`stream` of one key an example; None (no randomness wanted) stays None."""
    return None if keys is None else jax.vmap(lambda key: stream(key, name))(keys)


def per_example(key: Key[Array, ""], ids: Int[Array, " B"]) -> Key[Array, " B"]:
    """One key an example, a function of `key` and the example's id alone."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, ids)


def per_position(keys: Key[Array, " B"], length: int) -> Key[Array, "B T"]:
    """One key for each of the first `length` positions of every example."""
    positions = jnp.arange(length)
    return jax.vmap(per_example, in_axes=(0, None))(keys, positions)


def keep_mask(
    keys: Key[Array, " B"], rate: float, *, length: int, width: int
) -> Bool[Array, "B T D"]:
    """Which units dropout keeps, for `length` positions of `width` units.

    Position t of example b sees the same units whatever `length` is, so padding changes nothing.
    Each 32-bit draw is cut into four bytes: a unit is dropped when its byte is below
    `round(256 * rate)`, so the rate is honoured to within 1/512, for a quarter of the generator's
    work.
    """
    if not 0.0 < rate < 1.0:
        raise ValueError(f"dropout rate {rate} is outside [0, 1); choose e.g. 0.5")
    words = -(-width // 4)
    draw = jax.vmap(jax.vmap(lambda key: jax.random.bits(key, (words,), jnp.uint32)))
    bits = draw(per_position(keys, length))
    units = jax.lax.bitcast_convert_type(bits, jnp.uint8)  # [B T words 4]
    units = units.reshape(*units.shape[:2], words * 4)[..., :width]
    return units >= round(256 * rate)


def dropout(
    values: Float[Array, "B T D"],
    rate: float,
    *,
    keys: Key[Array, " B"] | None,
    words_first: bool = False,
) -> Float[Array, "B T D"]:
    """Inverted dropout with one key an example; the identity without keys or at rate 0.

    Values may be [T B D] with `words_first`: the same numbers are kept.

    Deviation: Show, Attend and Tell's released code scales by 1 - rate at test time instead, which
    has the same expectation.
    """
    if keys is None or rate == 0.0:
        return values
    length = values.shape[0 if words_first else 1]
    keep = keep_mask(keys, rate, length=length, width=values.shape[2])
    if words_first:
        keep = keep.swapaxes(0, 1)
    return only_kept(values, keep, rate)


def only_kept(
    values: Float[Array, "*N"], keep: Bool[Array, "*N"], rate: float
) -> Float[Array, "*N"]:
    """What dropout makes of values: those that are kept, scaled up by the share of the others."""
    kept = 1.0 - round(256 * rate) / 256
    return jnp.where(keep, values / jnp.asarray(kept, values.dtype), jnp.zeros((), values.dtype))
