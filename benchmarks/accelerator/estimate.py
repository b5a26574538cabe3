"""One program compiled for one chip, and what is to be said of it."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
from accelerator import gpu, kernels, tpu
from accelerator.costs import Cost
from accelerator.hlo import Module
from accelerator.program import Program
from accelerator.targets import Target

from capjax.train.arithmetic import count_flops

UNMADE = frozenset("parameter constant tuple get-tuple-element bitcast while call".split())
"""Operations whose results are other instructions' buffers."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What the compiled text says.

    Attributes:
      program, target: what was compiled for what.
      operations: the program's own.
      temporary: bytes of memory beside arguments and results.
      text: of the compiled program.
      module: the same, read.
      costs: of every instruction that the chip's compiler, or a roofline, vouches for.
      kernels: of those written by hand.
    """

    program: Program
    target: Target
    operations: float
    temporary: int
    text: str
    module: Module
    costs: tuple[Cost, ...]
    kernels: tuple[Cost, ...]

    @functools.cached_property
    def seconds(self) -> float:
        """Of the whole program."""
        return sum(cost.seconds for cost in (*self.costs, *self.kernels))

    @property
    def at_peak(self) -> float:
        """Seconds of its operations at the peak of bfloat16 products."""
        return self.operations / self.target.flops

    @property
    def moving(self) -> float:
        """Seconds of the bytes that any form of it has to move."""
        return self.program.moved / self.target.bandwidth

    @property
    def started(self) -> int:
        """Instructions that run, each in all its turns; on a GPU that many kernels are started."""
        return sum(cost.executed.times for cost in (*self.costs, *self.kernels))

    def figures(self) -> dict[str, float]:
        """Numbers by name, the unit in the name."""
        return {
            "estimated_ms": 1e3 * self.seconds,
            "own_gflop": self.operations / 1e9,
            "share_of_peak": self.at_peak / self.seconds,
            "share_of_limit": max(self.at_peak, self.moving) / self.seconds,
            "kernels_ms": 1e3 * sum(cost.seconds for cost in self.kernels),
            "started": self.started,
            "temporary_mb": self.temporary / 1e6,
            "largest_buffer_mb": max((size for size, _, _ in self.buffers), default=0) / 1e6,
        }

    def dearest(self, count: int) -> list[Cost]:
        """The instructions that take longest, all their turns together."""
        found = sorted((*self.costs, *self.kernels), key=lambda cost: -cost.seconds)
        return found[:count]

    @functools.cached_property
    def buffers(self) -> list[tuple[int, str, str]]:
        """(bytes, type, line of code) of the largest arrays written to main memory."""
        return buffers(self.module)


def buffers(module: Module, most: int = 5) -> list[tuple[int, str, str]]:
    """(bytes, type, line of code) of the largest arrays that a program writes to main memory."""
    found: dict[tuple[int, str], str] = {}
    for each in module.executed():
        one = each.instruction
        if one.opcode in UNMADE or one.opcode.endswith(("-start", "-done")):
            continue
        for array in one.results:
            if not array.fast:
                found.setdefault((array.bytes, str(array)), module.line(one))
    return [(*key, found[key]) for key in sorted(found, reverse=True)[:most]]


def estimate(program: Program, target: Target) -> Estimate:
    """Compiles a program for a chip, and reads what came out."""
    reader = tpu if target.platform == "tpu" else gpu
    jitted = jax.jit(program.function, donate_argnums=program.donated)
    traced = jitted.trace(*(target.placed(tree) for tree in program.arguments))
    compiled = _compiled(traced.lower(), target)
    text = compiled.as_text()
    module = Module(text, program.turns)
    operations = program.operations
    return Estimate(
        program=program,
        target=target,
        operations=count_flops(traced.jaxpr) if operations is None else operations,
        temporary=compiled.memory_analysis().temp_size_in_bytes,
        text=text,
        module=module,
        costs=tuple(reader.costs(module, target)),
        kernels=tuple(kernels.costs(module, target, traced.jaxpr, reader.is_kernel)),
    )


def _compiled(lowered: Any, target: Target) -> Any:
    """The compiled program, of a GPU with the products of cuBLAS where Triton's do not compile.

    Without a chip to try tiles on, XLA takes the first, and cannot compile some strided products.
    """
    try:
        return lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if target.platform != "cuda" or "tile" not in str(error):
            raise
        return lowered.compile(compiler_options={"xla_gpu_enable_triton_gemm": False})
