"""Computes a batch a few members at a time, so that intermediate results fit a CPU's caches."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array

from capjax.ops import platform


def map_chunks(function: Callable[[Any], Any], x: Any, largest: int) -> Any:
    """Computes function(x), on a processor in equal chunks of at most `largest` members.

    The chunks follow one another; other platforms take the batch whole.

    Args:
      function: takes a chunk of x. Every array it returns has the batch first, and each member's
        result depends on that member alone.
      x: the batch, an array or a tree of arrays.
      largest: 1 or more.
    """
    batch = len(jax.tree.leaves(x)[0])
    size = max(size for size in range(1, largest + 1) if batch % size == 0)
    if size == batch:
        return function(x)

    def cut(leaf: Array) -> Array:
        return leaf.reshape(batch // size, size, *leaf.shape[1:])

    def in_parts(x: Any) -> Any:
        parts = jax.lax.map(function, jax.tree.map(cut, x))
        return jax.tree.map(lambda leaf: leaf.reshape(batch, *leaf.shape[2:]), parts)

    return platform.on_processor(in_parts, function, x)


def chunking_pays() -> bool:
    """Whether there is one device only: several split a batch among them already."""
    return jax.device_count() == 1
