"""What a program to be judged is, and shapes to build one from: no weights, no images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

HALF = jnp.bfloat16


@dataclasses.dataclass(frozen=True)
class Program:
    """One program.

    Attributes:
      name: what it is called on the command line.
      about: its sizes, in words.
      function: to compile.
      arguments: shapes of its arguments.
      operations: its own, a multiplication and an addition each; None: those of its products.
      moved: bytes that any form of it has to read and write in main memory.
      budget: most bytes of one intermediate buffer.
      turns: of loops whose end only data decide.
      donated: arguments whose memory the results take.
    """

    name: str
    about: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    operations: float | None
    moved: float
    budget: float
    turns: int | None = None
    donated: tuple[int, ...] = ()


def shape(*dims: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    """An array that is not there."""
    return jax.ShapeDtypeStruct(dims, dtype)


def integers(*dims: int) -> jax.ShapeDtypeStruct:
    """Token ids, lengths and the like."""
    return shape(*dims, dtype=jnp.int32)


def size_of(tree: Any) -> int:
    """Bytes of all arrays of a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
