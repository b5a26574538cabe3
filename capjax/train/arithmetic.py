"""How much arithmetic an update is, and how much a device could do: the two sides of MFU.

XLA's own count (`compiled.cost_analysis()["flops"]`) takes the body of a loop once, however often
it runs (a scan of ten products: a tenth of the truth, on every backend), and on GPUs it knows
nothing of the products that it hands to cuBLAS and cuDNN. So the traced program is counted here.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn
from jax.interpreters.partial_eval import dce_jaxpr

PEAK_TERAFLOPS: tuple[tuple[str, float], ...] = (
    ("NVIDIA H200 NVL", 835.0),
    ("NVIDIA H200", 989.0),
    ("NVIDIA GH200", 989.0),
    ("NVIDIA H100 PCIe", 756.0),
    ("NVIDIA H100 NVL", 835.0),
    ("NVIDIA H100", 989.0),
    ("NVIDIA A100", 312.0),
    ("NVIDIA L40S", 362.0),
    ("NVIDIA L4", 121.0),
    ("Tesla T4", 65.0),
    ("Tesla V100-PCIE", 112.0),
    ("Tesla V100", 125.0),
    ("TPU v6 lite", 918.0),
    ("TPU v6e", 918.0),
    ("TPU v5 lite", 197.0),
    ("TPU v5e", 197.0),
    ("TPU v5p", 459.0),
    ("TPU v5", 459.0),
    ("TPU v4", 275.0),
)
"""Beginnings of `device_kind`, the longer name first, and the vendors' rate of dense 16-bit matrix
products (bfloat16; float16 where a device has no bfloat16), in 1e12 operations a second."""


def peak_flops(device: jax.Device) -> float | None:
    """Operations a second of dense 16-bit products by its data sheet; None for unknown devices."""
    kind = device.device_kind.lower()
    for beginning, teraflops in PEAK_TERAFLOPS:
        if kind.startswith(beginning.lower()):
            return teraflops * 1e12
    return None


def count_flops(program: Jaxpr | ClosedJaxpr) -> float:
    """Multiplications and additions of all matrix products and convolutions of a traced program.

    A multiply-add is two; loops with a known length count every turn. Not counted: all else (it
    is bound by memory, not arithmetic), what no result depends on, what padding multiplies by zero,
    and all but one turn of a `while_loop`, whose length nobody knows. Of a `cond` the most
    expensive branch counts. What `remat` computes a second time counts twice: it is executed.

    Args:
      program: of all devices together, e.g. `jax.jit(f).trace(…).jaxpr`.
    """
    opened = program.jaxpr if isinstance(program, ClosedJaxpr) else program
    # Gradients are traced for every argument, wanted or not; XLA drops the others.
    used, _ = dce_jaxpr(opened, [True] * len(opened.outvars))
    return _count_all(used)


def _count_all(program: Jaxpr | ClosedJaxpr) -> float:
    opened = program.jaxpr if isinstance(program, ClosedJaxpr) else program
    return sum(_count(equation) for equation in opened.eqns)


def _count(equation: JaxprEqn) -> float:
    name = equation.primitive.name
    if name == "dot_general":
        return _product_flops(equation)
    if name == "conv_general_dilated":
        return _convolution_flops(equation)
    if name == "cond":
        return max(_count_all(branch) for branch in equation.params["branches"])
    inner = sum(_count_all(program) for program in _programs(equation.params))
    if name == "scan":
        return inner * equation.params["length"]
    if name == "shard_map":  # the program of one device
        return inner * equation.params["mesh"].size
    return inner


def _programs(params: Mapping[str, Any]) -> Iterator[Jaxpr | ClosedJaxpr]:
    for value in params.values():
        if isinstance(value, (Jaxpr, ClosedJaxpr)):
            yield value


def _product_flops(equation: JaxprEqn) -> float:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = _shape(equation.invars[0])
    depth = math.prod(left[axis] for axis in contracted)
    return 2.0 * depth * math.prod(_shape(equation.outvars[0]))


def _convolution_flops(equation: JaxprEqn) -> float:
    params = equation.params
    numbers = params["dimension_numbers"]
    image, kernel = map(_shape, equation.invars[:2])
    out = _shape(equation.outvars[0])
    pairs = 1.0
    for axis in range(len(params["window_strides"])):
        pairs *= _pairs(
            inputs=image[numbers.lhs_spec[2 + axis]],
            taps=kernel[numbers.rhs_spec[2 + axis]],
            outputs=out[numbers.out_spec[2 + axis]],
            stride=params["window_strides"][axis],
            padding=params["padding"][axis][0],
            input_dilation=params["lhs_dilation"][axis],
            tap_dilation=params["rhs_dilation"][axis],
        )
    images, channels = (out[axis] for axis in numbers.out_spec[:2])
    return 2.0 * images * channels * kernel[numbers.rhs_spec[1]] * pairs


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


def _pairs(
    *,
    inputs: int,
    taps: int,
    outputs: int,
    stride: int,
    padding: int,
    input_dilation: int,
    tap_dilation: int,
) -> int:
    """How many (output, tap) pairs of one axis meet an input, not padding or a gap between two."""
    output, tap = np.ogrid[:outputs, :taps]
    place = output * stride + tap * tap_dilation - padding
    inside = (place >= 0) & (place <= (inputs - 1) * input_dilation)
    return int(np.count_nonzero(inside & (place % input_dilation == 0)))
