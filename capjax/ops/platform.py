"""What helps one platform only: the one switch between its forms and everybody else's.

XLA's CPU compiler needs help that would cost a TPU or a GPU time: barriers, other orders of a
product, convolutions written as products, batches in small chunks. Each such form goes through
`on_processor`, and what only a TPU's compiler needs through `on_tpu`. The choice is made when a
program is lowered, by the platform it is lowered for, so that a program compiled ahead for another
machine takes that machine's forms.
"""

from collections.abc import Callable
from typing import TypeVar

import jax

TRITON_BEFORE = (0, 12)
"""The version of JAX from which Pallas deprecates Triton, and lowers it only where a GPU is."""

_Result = TypeVar("_Result")
_Tree = TypeVar("_Tree")


def on_processor(
    fast: Callable[..., _Result], plain: Callable[..., _Result], *arguments: object
) -> _Result:
    """Returns fast(*arguments) in a program for a CPU, plain(*arguments) in any other.

    Both are traced; only one is in the program. Gradients, `vmap` and `shard_map` go through. In
    reverse mode of a loop, prefer a hand-written backward pass around this (`jax.custom_vjp`):
    autodiff keeps what either form needs, and only XLA drops the other's share again.

    Args:
      fast: of arrays or trees of arrays. It closes over no traced value that is differentiated.
      plain: the same function with results of the same shapes and dtypes.
      *arguments: arrays or trees of arrays.
    """
    result: _Result = jax.lax.platform_dependent(*arguments, cpu=fast, default=plain)
    return result


def on_tpu(
    fast: Callable[..., _Result], plain: Callable[..., _Result], *arguments: object
) -> _Result:
    """Returns fast(*arguments) in a program for a TPU, plain(*arguments) in any other.

    As `on_processor`.
    """
    result: _Result = jax.lax.platform_dependent(*arguments, tpu=fast, default=plain)
    return result


def barrier(tree: _Tree) -> _Tree:
    """`jax.lax.optimization_barrier` on a CPU: the arrays are computed, once, before use.

    Elsewhere it is the identity, for a barrier keeps an accelerator's compiler from fusing
    nonlinearities into the product they follow.
    """
    return on_processor(jax.lax.optimization_barrier, lambda same: same, tree)


def triton_runs() -> bool:
    """Whether this JAX has Triton and no GPU of this process is too old for its bfloat16."""
    if jax.__version_info__ >= TRITON_BEFORE:
        return False
    capabilities = [getattr(device, "compute_capability", "") for device in jax.local_devices()]
    majors = [str(each).split(".")[0] for each in capabilities]
    return all(int(major) >= 8 for major in majors if major.isdigit())
