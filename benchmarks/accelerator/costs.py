"""What an instruction of a compiled program costs, and what may cost nothing."""

from __future__ import annotations

import dataclasses

from accelerator.hlo import Computation, Executed, Instruction, Module

FREE = frozenset(
    "parameter constant tuple get-tuple-element bitcast while call conditional after-all "
    "opt-barrier optimization-barrier partition-id replica-id domain".split()
)
"""Operations that move nothing themselves."""

SLICES = ("dynamic-slice", "slice", "gather")
"""Operations that read as much of their first operand as they return."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """Estimated time of one instruction, of all the times that it runs.

    Attributes:
      executed: the instruction.
      seconds: of all its turns together.
      bound: what takes so long: "compiler", "memory", "products", "vector", "exponentials".
    """

    executed: Executed
    seconds: float
    bound: str


def moved(one: Instruction, around: Computation, module: Module) -> int:
    """Bytes of main memory that an instruction reads and writes.

    Of an array that is sliced inside a fusion the slices are read; of one that is updated in place
    the update is written.
    """
    inner = module.computations.get(one.calls("calls") or "")
    given = [around.instructions[name].bytes for name in one.operands]
    if one.opcode in SLICES:
        return 2 * one.bytes
    if one.opcode == "dynamic-update-slice":
        return 2 * given[1]
    if inner is None or one.opcode not in ("fusion", "async-start"):
        # The second result of a library's call is room to work in.
        written = one.results[0].bytes if one.opcode == "custom-call" else one.bytes
        return sum(given) + written
    read = sum(
        min(given[place], _read(inner, inner.instructions[name]))
        for name, place in inner.parameters.items()
    )
    return read + min(one.bytes, _written(inner, inner.root))


def _read(inner: Computation, one: Instruction) -> int:
    """Bytes of an array inside a fusion that the fusion looks at."""
    total = 0
    for reader in inner.readers[one.name]:
        if reader.opcode == "bitcast":
            total += _read(inner, reader)
        elif reader.opcode in SLICES and reader.operands[0] == one.name:
            total += reader.bytes
        elif reader.opcode == "dynamic-update-slice" and reader.operands[0] == one.name:
            continue
        elif reader.opcode != "tuple":
            return one.bytes
    return min(total, one.bytes)


def _written(inner: Computation, one: Instruction) -> int:
    """Bytes that a fusion writes: of an update in place those of the update."""
    if one.opcode == "tuple":
        return sum(_written(inner, inner.instructions[name]) for name in one.operands)
    if one.opcode == "bitcast":
        return _written(inner, inner.instructions[one.operands[0]])
    if one.opcode == "dynamic-update-slice":
        return inner.instructions[one.operands[1]].bytes
    return one.bytes
