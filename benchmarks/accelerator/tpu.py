"""Estimated time of a program compiled for a TPU: its compiler's cycles, times the trips of loops.

An instruction that carries no estimate is charged the bytes that it reads and writes in main
memory. Copies that run beside others (`copy-start` to `copy-done`) are free as long as the other
instructions of the same computation take longer; the rest is charged to the longest of them.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator

from accelerator.costs import FREE, Cost, moved
from accelerator.hlo import Executed, Instruction, Module
from accelerator.targets import Target

KERNEL = "tpu_custom_call"
BESIDE = ("copy-start", "slice-start", "async-start")
DONE = ("copy-done", "slice-done", "async-done")
BUFFERS = ("AllocateBuffer", "ConcatBitcast")
"""Custom calls that only name memory."""


def costs(module: Module, target: Target) -> Iterator[Cost]:
    """Costs of all instructions but custom kernels, which `kernels` counts."""
    busy: dict[str, float] = collections.defaultdict(float)
    beside: dict[str, list[tuple[Executed, float]]] = collections.defaultdict(list)
    for one in module.executed():
        own, name = one.instruction, one.computation.name
        if is_kernel(own) or own.opcode in FREE or own.opcode in BESIDE:
            continue
        if own.opcode in DONE:
            copied = sum(array.bytes for array in own.results)
            beside[name].append((one, one.times * copied / target.bandwidth))
        elif (cycles := own.says(r'estimated_cycles":"(\d+)"')) is not None:
            seconds = one.times * int(cycles) / target.clock
            busy[name] += seconds
            yield Cost(one, seconds, "compiler")
        elif own.says(r'custom_call_target="(\w+)"') not in BUFFERS:
            seconds = one.times * moved(own, one.computation, module) / target.bandwidth
            busy[name] += seconds
            yield Cost(one, seconds, "memory")
    for name, copies in beside.items():
        waiting = sum(seconds for _, seconds in copies) - busy[name]
        if waiting > 0:
            longest = max(copies, key=lambda copy: copy[1])[0]
            yield Cost(longest, waiting, "memory")


def is_kernel(instruction: Instruction) -> bool:
    """Whether it was written by hand."""
    return instruction.says(r'custom_call_target="(\w+)"') == KERNEL
