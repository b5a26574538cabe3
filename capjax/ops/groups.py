"""A batch computed a few members at a time, so that what is computed stays in a CPU's caches."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array


def map_groups(function: Callable[[Any], Any], x: Any, largest: int) -> Any:
    """function(x), computed for at most `largest` members at a time, one group after the other.

    Args:
      function: of a part of x; every array of its result has the batch first, and each member's
        result depends on that member alone.
      x: the batch, an array or a tree of arrays, cut into the largest equal groups.
      largest: 1 or more.
    """
    batch = len(jax.tree.leaves(x)[0])
    size = max(size for size in range(1, largest + 1) if batch % size == 0)
    if size == batch:
        return function(x)

    def cut(leaf: Array) -> Array:
        return leaf.reshape(batch // size, size, *leaf.shape[1:])

    parts = jax.lax.map(function, jax.tree.map(cut, x))
    return jax.tree.map(lambda leaf: leaf.reshape(batch, *leaf.shape[2:]), parts)


def groups_pay() -> bool:
    """Whether there is one device, whose caches matter: several take their shares of a batch."""
    return jax.default_backend() == "cpu" and jax.device_count() == 1
