"""Barriers that XLA keeps: what is to be computed once is, and again what is to be again."""

import functools
from collections.abc import Callable
from typing import Any

import jax

DROPPED_BEFORE = (0, 11)
"""The version of JAX from which XLA's CPU compiler keeps barriers by itself."""


def compiler_options(platform: str) -> dict[str, str] | None:
    """Options of `jax.jit` under which barriers mean something; None where they need none.

    The CPU compiler of JAX 0.7 to 0.10 drops `jax.lax.optimization_barrier`, and with it what
    `jax.checkpoint` does, before it decides what to compute where. A sum of shortcuts is then
    computed again in every block that reads it, out of the results of all blocks before; and what
    was to be computed again to save memory is kept. Later ones keep barriers, and cannot compile
    some loops under these options.

    Args:
      platform: "cpu", or another.
    """
    if platform != "cpu" or jax.__version_info__ >= DROPPED_BEFORE:
        return None
    return {"xla_disable_hlo_passes": "cse_barrier_expander"}


def jit(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """`jax.jit` with `compiler_options` of the default backend, looked up at the first call.

    Args:
      function: to compile. Like every program with compiler options it cannot be part of another.
      **options: of `jax.jit`.

    Returns:
      a function whose attribute `compiled`, called without arguments, is what `jax.jit` returned.
    """

    @functools.cache
    def compiled() -> Any:
        own = compiler_options(jax.default_backend())
        return jax.jit(function, compiler_options=own, **options)

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        return compiled()(*arguments, **named)

    vars(call)["compiled"] = compiled
    return call
