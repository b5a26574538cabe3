"""Estimated time of a program compiled for a GPU: a roofline over its kernels.

A kernel takes as long as the longest of its bytes at the memory's bandwidth, its products at peak,
its other operations at the rate of the lanes and its exponentials at that of the special-function
units. Nothing is assumed to stay in L2, and starting a kernel costs nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from accelerator.costs import FREE, Cost, moved
from accelerator.hlo import Computation, Instruction, Module
from accelerator.targets import Target

KERNELS = ("__gpu$xla.gpu.triton", "mosaic_gpu", "mosaic_gpu_v2", "triton_kernel_call")
"""Targets of custom calls that were written by hand."""

EXPONENTIALS = frozenset(
    "exponential exponential-minus-one log log-plus-one logistic tanh rsqrt sqrt cbrt power "
    "sine cosine tan erf atan2 divide".split()
)
UNCOUNTED = frozenset(
    "parameter constant tuple get-tuple-element bitcast reshape broadcast iota slice copy "
    "transpose dynamic-slice dynamic-update-slice concatenate pad gather dot convolution".split()
)
"""Inside a fusion: moving numbers is counted as bytes, products apart."""


def costs(module: Module, target: Target) -> Iterator[Cost]:
    """Costs of all kernels but those written by hand, which `kernels` counts."""
    for one in module.executed():
        own = one.instruction
        if own.opcode in FREE or own.opcode.endswith("-done") or is_kernel(own):
            continue
        times = {
            "memory": moved(own, one.computation, module) / target.bandwidth,
            "products": _products(own, one.computation, module, target),
            **_lanes(own, module, target),
        }
        bound = max(times, key=lambda name: times[name])
        yield Cost(one, one.times * times[bound], bound)


def is_kernel(instruction: Instruction) -> bool:
    """Whether it was written by hand."""
    return instruction.says(r'custom_call_target="([^"]*)"') in KERNELS


def _products(one: Instruction, around: Computation, module: Module, target: Target) -> float:
    """Seconds of the matrix products in a kernel, at the peak of their type."""
    inner = module.computations.get(one.calls("calls") or "")
    if inner is not None:
        each = (_products(own, inner, module, target) for own in inner.instructions.values())
        return sum(each)
    called = one.says(r'custom_call_target="([^"]*)"') or ""
    if one.opcode not in ("dot", "convolution") and not called.startswith(("__cublas", "__cudnn")):
        return 0.0
    arrays = [around.instructions[name].results[0] for name in one.operands[:2]]
    out = one.results[0]
    if one.opcode == "convolution" or called.startswith("__cudnn$conv"):
        operations = _convolution(one, arrays[0].dims, arrays[1].dims, out.dims, called)
    else:
        operations = 2.0 * _product_size(one, arrays[0].dims, out.dims)
    narrow = arrays[0].bytes < 4 * arrays[0].size
    if narrow:
        return operations / target.flops
    exact = "HIGHEST" in one.rest or "highest" in one.rest
    return operations / (target.full_flops if exact else target.flops / 2)


def _product_size(one: Instruction, left: tuple[int, ...], out: tuple[int, ...]) -> float:
    axes = one.says(r"lhs_contracting_dims=\{([\d,]*)\}")  # XLA's own, or a library's
    axes = axes or one.says(r'"lhs_contracting_dimensions":\[([^\]]*)\]') or ""
    depth = math.prod(left[int(axis)] for axis in re.findall(r"\d+", axes))
    return float(depth * math.prod(out))


def _convolution(
    one: Instruction,
    left: tuple[int, ...],
    right: tuple[int, ...],
    out: tuple[int, ...],
    called: str,
) -> float:
    """Operations of a convolution forwards; its two gradients take as many."""
    kernel = one.says(r"dim_labels=\w+_(\w+)->") or ""
    taps = [int(size) for size in (one.says(r"window=\{size=([\dx]+)") or "1").split("x")]
    if called.endswith("BackwardInput"):  # what the forward pass wrote is the first operand here
        return 2.0 * math.prod(taps) * right[kernel.index("i")] * math.prod(left)
    if called.endswith("BackwardFilter"):  # out is the kernel; right is what forward wrote
        depth = out[kernel.index("i")]
        return 2.0 * math.prod(taps) * depth * math.prod(right)
    return 2.0 * math.prod(taps) * right[kernel.index("i")] * math.prod(out)


def _lanes(one: Instruction, module: Module, target: Target) -> dict[str, float]:
    """Seconds of all other arithmetic in a kernel."""
    plain, hard = _operations(module, one.calls("calls") or "")
    return {
        "vector": plain / (target.vector * target.clock),
        "exponentials": hard / (target.exponentials * target.clock),
    }


def _operations(module: Module, name: str) -> tuple[int, int]:
    inner = module.computations.get(name)
    plain = hard = 0
    for one in inner.instructions.values() if inner else ():
        if one.opcode == "fusion":
            more = _operations(module, one.calls("calls") or "")
            plain, hard = plain + more[0], hard + more[1]
        elif one.opcode in EXPONENTIALS:
            hard += one.results[0].size
        elif one.opcode in ("reduce", "reduce-window", "map", "scatter", "sort"):
            plain += max(inner.instructions[name].results[0].size for name in one.operands)
        elif one.opcode not in UNCOUNTED and not _added(one, inner):
            plain += one.results[0].size
    return plain, hard


def _added(one: Instruction, inner: Computation) -> bool:
    """Whether it is a product that is only added to something: one operation does both."""
    readers = inner.readers[one.name]
    return one.opcode == "multiply" and [each.opcode for each in readers] in (["add"], ["subtract"])
