"""Shapes of large networks: tracing one takes a second or more, so each is traced once."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


@functools.cache
def traced(module: nn.Module, *sizes: tuple[int, ...]) -> tuple[Any, Any]:
    """Shapes of what a module gives for float32 inputs of these sizes, and of its variables."""
    inputs = [jax.ShapeDtypeStruct(size, jnp.float32) for size in sizes]
    return jax.eval_shape(module.init_with_output, jax.random.key(0), *inputs)


def count(variables: Any) -> int:
    """All numbers of a tree."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables))
