"""Estimated time of kernels that were written by hand (Pallas), which no compiler estimates.

A kernel takes as long as the longest of its products at peak, its vector operations, its
exponentials and the bytes of its blocks, and 15 % more. All of it is read from the traced kernel,
so that nothing becomes free by being written by hand. A block is fetched again whenever its index
changes from one step of the grid to the next; an array that fits into a GPU's L2 is read once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from accelerator.costs import Cost
from accelerator.hlo import Executed, Instruction, Module
from accelerator.targets import Target
from jax.extend.core import ClosedJaxpr, Jaxpr, Var

from capjax.train.arithmetic import count_flops

SURCHARGE = 1.15
"""What starting, filling and draining a pipeline costs, as a factor."""

EXPONENTIALS = frozenset(
    "exp exp2 expm1 log log1p log2 logistic tanh rsqrt sqrt pow sin cos erf div".split()
)
MOVES = frozenset(
    "get swap broadcast_in_dim reshape transpose squeeze slice concatenate program_id "
    "num_programs multiple_of".split()
)
"""Primitives that only move numbers."""


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One `pallas_call`, all steps of its grid together.

    Attributes:
      name: as the program calls it.
      products: operations of matrix products.
      vector: other operations, a number each.
      exponentials: of these, exponentials and the like.
      blocks: of every argument and result: (bytes of a block, fetches, bytes of the array).
    """

    name: str
    products: float
    vector: float
    exponentials: float
    blocks: tuple[tuple[int, int, int], ...]

    def seconds(self, target: Target) -> tuple[float, str]:
        """Of one call, and what bounds it."""
        plain = self.vector / (target.vector * target.clock)
        hard = self.exponentials / (target.kernel_exponentials * target.clock)
        times = {
            "products": self.products / target.flops,
            # A TPU computes exponentials where it computes all else.
            "vector": plain + (hard if target.platform == "tpu" else 0.0),
            "exponentials": hard,
            "memory": self.bytes(target) / target.bandwidth,
        }
        bound = max(times, key=lambda name: times[name])
        return SURCHARGE * times[bound], bound

    def bytes(self, target: Target) -> int:
        """That its blocks move."""
        return sum(
            whole if whole <= target.cache else block * fetches
            for block, fetches, whole in self.blocks
        )


def costs(
    module: Module, target: Target, program: ClosedJaxpr, is_kernel: Callable[[Instruction], bool]
) -> Iterator[Cost]:
    """Costs of the custom calls of a compiled program.

    Args:
      module: the compiled program.
      target: what it was compiled for.
      program: the traced one, whose kernels are counted.
      is_kernel: tells custom calls that were written by hand.

    Raises:
      ValueError: a custom call for which no traced kernel is found.
    """
    known = {kernel.name: kernel for kernel in traced_kernels(program)}
    for one in module.executed():
        if is_kernel(one.instruction):
            seconds, bound = _kernel_of(one, known).seconds(target)
            yield Cost(one, one.times * seconds, bound)


def _kernel_of(one: Executed, known: dict[str, Kernel]) -> Kernel:
    path = one.instruction.says(r'op_name="([^"]*)"') or one.instruction.name
    for name, kernel in known.items():
        if name in path.split("/") or one.instruction.name.split(".")[0] == name:
            return kernel
    raise ValueError(
        f"the custom call {one.instruction.name} ({path}) is none of the traced kernels "
        f"{sorted(known)}; give `pallas_call` a name of its own"
    )


def traced_kernels(program: ClosedJaxpr | Jaxpr) -> Iterator[Kernel]:
    """All kernels of a traced program; those of one name must be alike."""
    for equation in _opened(program).eqns:
        if equation.primitive.name == "pallas_call":
            yield _kernel(equation.params)
            continue
        for inner in _inner(equation.params):
            yield from traced_kernels(inner)


def _kernel(params: dict[str, Any]) -> Kernel:
    grid = tuple(int(size) for size in params["grid_mapping"].grid)
    steps = math.prod(grid)
    vector, exponentials = _operations(params["jaxpr"], grid)
    return Kernel(
        name=params["name"],
        products=steps * count_flops(params["jaxpr"]),
        vector=steps * vector,
        exponentials=steps * exponentials,
        blocks=tuple(_block(one, grid) for one in params["grid_mapping"].block_mappings),
    )


def _block(mapping: Any, grid: tuple[int, ...]) -> tuple[int, int, int]:
    """(bytes of a block, fetches, bytes of the array)."""
    array = mapping.array_aval
    sides = [
        getattr(side, "block_size", side if isinstance(side, int) else 1)
        for side in mapping.block_shape
    ]
    size = math.prod(sides) * array.dtype.itemsize
    whole = math.prod(array.shape) * array.dtype.itemsize
    steps = math.prod(grid)
    index = mapping.index_map_jaxpr
    if len(index.jaxpr.invars) != len(grid):  # it depends on numbers that only a run knows
        return size, steps, whole

    def place(*at: jax.Array) -> list[Any]:
        return jax.core.eval_jaxpr(index.jaxpr, index.consts, *at)

    points = [axis.ravel().astype(np.int32) for axis in np.indices(grid)]
    places = [np.broadcast_to(found, steps) for found in jax.vmap(place)(*points)] if grid else []
    changes = np.zeros(steps - 1, bool)
    for found in places:
        changes |= found[1:] != found[:-1]
    return size, 1 + int(changes.sum()), whole


def _operations(program: ClosedJaxpr | Jaxpr, grid: tuple[int, ...]) -> tuple[float, float]:
    """Vector operations and exponentials of one step of the grid, on average.

    What `pl.when(pl.program_id(axis) == …)` guards runs in one step of each walk along the axis.
    """
    vector = exponentials = 0.0
    axis_of: dict[Any, int] = {}
    share_of: dict[Any, float] = {}
    for equation in _opened(program).eqns:
        name, params, out = equation.primitive.name, equation.params, equation.outvars
        if "mma" in name or "dma" in name or name == "while":
            raise ValueError(
                f"a kernel holds {name!r}, which is not counted yet; count it in kernels.py"
            )
        given = [one for one in equation.invars if isinstance(one, Var)]
        if name == "program_id":
            axis_of[out[0]] = params["axis"]
        elif name == "eq" and (axes := [axis_of[one] for one in given if one in axis_of]):
            share_of[out[0]] = 1 / grid[axes[0]]
        elif name == "convert_element_type" and given and given[0] in share_of:
            share_of[out[0]] = share_of[given[0]]
        inner = [_operations(each, grid) for each in _inner(params)]
        if name == "cond":
            share = share_of.get(equation.invars[0], 1.0) if given else 1.0
            plain, hard = (share * number for number in max(inner))
        elif inner:
            turns = params["length"] if name == "scan" else 1
            plain, hard = (turns * sum(numbers) for numbers in zip(*inner, strict=True))
        else:
            size = _size(equation)
            plain, hard = (0.0, size) if name in EXPONENTIALS else (size, 0.0)
        vector, exponentials = vector + plain, exponentials + hard
    return vector, exponentials


def _size(equation: Any) -> int:
    """Numbers that an operation computes, of a reduction those that it reads; 0 for moves."""
    name = equation.primitive.name
    if name in MOVES or name == "dot_general":
        return 0
    arrays = equation.invars if name.startswith("reduce_") else equation.outvars
    return max((math.prod(getattr(one.aval, "shape", ())) for one in arrays), default=0)


def _opened(program: ClosedJaxpr | Jaxpr) -> Jaxpr:
    return program.jaxpr if isinstance(program, ClosedJaxpr) else program


def _inner(params: dict[str, Any]) -> Iterator[ClosedJaxpr | Jaxpr]:
    for value in params.values():
        for one in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(one, (ClosedJaxpr, Jaxpr)):
                yield one
