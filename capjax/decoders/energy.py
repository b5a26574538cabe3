"""The score of a position, e = w . act(k + q), and what its gradient adds up over positions.

Shapes: L positions, A attention size.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from capjax.ops import platform
from capjax.ops.linear import batched_product

Activation = Literal["tanh", "relu"]

_TILE, _PARTS = 16, 16
"""Of `sum_of_parts`: what the size of a part is a multiple of; most parts."""


def activate(keys: Array, query: Array, activation: Activation) -> Array:
    """act(k + q) of every position."""
    total = keys + query[..., None, :]
    return jnp.tanh(total) if activation == "tanh" else jax.nn.relu(total)


def slope_of(active: Array, activation: Activation) -> Array:
    """act' from the value of act."""
    return 1 - jnp.square(active) if activation == "tanh" else (active > 0).astype(active.dtype)


def scores(
    active: Float[Array, "B L A"], score: Float[Array, " A"], dtype: Any
) -> Float[Array, "B L"]:
    """w . act of every position; on a TPU on its matrix unit, rounded to `dtype`.

    Elsewhere it is a sum, which computes act as it reads the keys: before a product a GPU's
    compiler writes them with the query added, in float32.
    """

    def rounded(active: Array, score: Array) -> Array:
        return batched_product("a,bla->bl", score, active.astype(dtype))

    def summed(active: Array, score: Array) -> Array:
        return jnp.sum(active * score[None, None], axis=2)

    return platform.on_tpu(rounded, summed, active, score)


def sum_of_parts(
    function: Callable[..., Array], *values: Float[Array, "B L ..."]
) -> Float[Array, "B A"]:
    """The sum over positions of function(*values), [B L A], in parts that are added up first.

    For a TPU's compiler a sum over an axis costs several times the additions that it is made of.
    Parts begin where the tiles of bfloat16 begin, and are no more than about sixteen.
    """
    length = values[0].shape[1]
    size = _TILE * -(-length // (_TILE * _PARTS))
    whole = length // size * size
    cuts = [slice(first, first + size) for first in range(0, whole, size)]
    parts = [function(*(each[:, cut] for each in values)) for cut in cuts]
    sums = [functools.reduce(jnp.add, parts)] if parts else []
    if whole < length:
        sums.append(function(*(each[:, whole:] for each in values)))
    return functools.reduce(jnp.add, [jnp.sum(each, axis=1) for each in sums])
