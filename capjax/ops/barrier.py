"""Values that are computed once and kept, where XLA on a CPU would compute them again."""

import functools
from collections.abc import Callable
from typing import Any

import jax

_ON_CPU = {"xla_disable_hlo_passes": "cse_barrier_expander"}


def compiler_options(platform: str) -> dict[str, str] | None:
    """Options of `jax.jit` under which barriers mean something.

    XLA's CPU compiler drops `jax.lax.optimization_barrier`, and with it what `jax.checkpoint` does,
    before it decides what to compute where. A sum of shortcuts is then computed again in every
    block that reads it, out of the results of all blocks before; and what was to be computed again
    to save memory is kept.

    Args:
      platform: "cpu", or another, which needs none.
    """
    return _ON_CPU if platform == "cpu" else None


def jit(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """`jax.jit` with `compiler_options` of the default backend, which the first call decides.

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
