"""Computes what is too large at once in groups along an axis, as equal as their number allows."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array


def in_groups(
    function: Callable[..., Any], size: int, *values: Any, axes: tuple[int, ...] | None = None
) -> Any:
    """`function(*values)`, at most `size` entries at a time, one group after the other.

    Every group is one block of memory: the last one begins early enough to be full, and what it
    computes a second time is dropped.

    Args:
      function: of groups. Every array that it returns has the entries first, and the result of an
        entry depends on that entry alone.
      size: 1 or more.
      *values: arrays or trees of arrays, the same number of entries in all.
      axes: of the entries in each of the values; the first where None.
    """
    axes = (0,) * len(values) if axes is None else axes
    count = jax.tree.leaves(values[0])[0].shape[axes[0]]
    if size >= count:
        return function(*values)
    groups = -(-count // size)
    size = -(-count // groups)

    def group(start: Array) -> Any:
        def cut(value: Any, axis: int) -> Any:
            return jax.tree.map(
                lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size, axis), value
            )

        return function(*map(cut, values, axes))

    found = jax.lax.map(group, jnp.minimum(jnp.arange(groups) * size, count - size))
    again = groups * size - count

    def joined(leaf: Array) -> Array:
        if not again:
            return leaf.reshape(count, *leaf.shape[2:])
        before = leaf[:-1].reshape(count - size + again, *leaf.shape[2:])
        return jnp.concatenate([before, leaf[-1, again:]])

    return jax.tree.map(joined, found)
