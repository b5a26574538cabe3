"""Methods of a module as one program each; called as they are, every operation is compiled."""

import functools
from typing import Any

import jax
from flax import linen as nn


@functools.partial(jax.jit, static_argnums=0)
def init(module: nn.Module, key: jax.Array, *inputs: Any) -> Any:
    """`module.init`."""
    return module.init(key, *inputs)


@functools.partial(jax.jit, static_argnums=0, static_argnames="method")
def apply(module: nn.Module, variables: Any, *inputs: Any, method: str | None = None) -> Any:
    """`module.apply` of a method by its name."""
    return module.apply(variables, *inputs, method=method)
