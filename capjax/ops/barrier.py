"""Keeps XLA's CPU compiler from dropping optimization barriers."""

import functools
from collections.abc import Callable
from typing import Any

import jax

DROPPED_BEFORE = (0, 11)
"""The version of JAX from which XLA's CPU compiler keeps barriers by itself."""


def compiler_options(platform: str) -> dict[str, str] | None:
    """Returns the options of `jax.jit` that keep barriers; None where XLA keeps them anyway.

    The CPU compiler of JAX 0.7 to 0.10 drops `jax.lax.optimization_barrier` before it decides what
    to compute where. Two things go wrong without barriers. A sum of shortcuts is computed again in
    every block that reads it, from the results of all earlier blocks. And activations that
    `jax.checkpoint` should recompute, to save memory, are kept. Later versions keep barriers, but
    cannot compile some loops under these options.

    Args:
      platform: "cpu", or another.
    """
    if platform != "cpu" or jax.__version_info__ >= DROPPED_BEFORE:
        return None
    return {"xla_disable_hlo_passes": "cse_barrier_expander"}


def jit(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """`jax.jit` with `compiler_options` of the default backend, looked up at the first call.

    Args:
      function: to compile. It cannot be called inside another jitted function, which no program
        with compiler options can.
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


def lower(call: Callable[..., Any], *arguments: Any, **named: Any) -> jax.stages.Lowered:
    """The program that `call`, from `jit`, runs for arguments of these shapes."""
    lowered: jax.stages.Lowered = vars(call)["compiled"]().lower(*arguments, **named)
    return lowered
