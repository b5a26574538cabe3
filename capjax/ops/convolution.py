"""Convolutions and pooling of NHWC maps; on a CPU in the forms that its compiler is fast at.

On CPU cores whole nets take longer by XLA's own operations (`benchmarks/processor_forms.py`):
MobileNet 7 times and EfficientNetV2-S 2.9 times as long as with shifted multiply-adds for depthwise
kernels, VGG-16 1.4 and ResNet-50 1.1 times as long as with Winograd's form for 3x3 kernels over
many channels.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from capjax.ops import platform
from capjax.ops.chunks import chunking_pays
from capjax.ops.winograd import SIDE, winograd_convolution

Padding = Literal["same", "symmetric"]
Pads = Sequence[tuple[int, int]]

LEAST_TILED = 48
"""Fewest channels, of input and of output, for which Winograd's form pays."""

MOST_UNEVEN = 4
"""Largest ratio of channels, between input and output, at which it pays: the tiles of both are
written, read and multiplied by each other."""

MOST_TILES = 9_000_000
"""Most numbers in the tiles of one map at which it pays."""

CACHED_TILES = 6_500_000
"""Most numbers in the tiles of the maps that are transformed together."""


def convolution(
    x: Float[Array, "B h w C"],
    kernel: Float[Array, "k l _ D"],
    window_strides: Sequence[int],
    padding: str | Pads,
    **rest: Any,
) -> Float[Array, "B h2 w2 D"]:
    """`jax.lax.conv_general_dilated`, for `nn.Conv(conv_general_dilated=convolution)`.

    Args:
      x: NHWC maps.
      kernel: HWIO.
      window_strides: of the rows and columns.
      padding: "SAME" and "VALID" are TensorFlow's; or (before, after) of the rows and columns.
      **rest: further arguments of `jax.lax.conv_general_dilated`.
    """
    rows, columns, depth, _ = kernel.shape

    def general(x: Array, kernel: Array) -> Array:
        return jax.lax.conv_general_dilated(x, kernel, window_strides, padding, **rest)

    dilations = (rest.get("lhs_dilation"), rest.get("rhs_dilation"))
    if depth != x.shape[-1] or any(set(each or (1,)) != {1} for each in dilations):
        return general(x, kernel)
    pads = padding
    if isinstance(pads, str):
        pads = jax.lax.padtype_to_pads(x.shape[1:3], (rows, columns), window_strides, pads)
    precision = rest.get("precision")
    if (rows, columns, *window_strides) == (1, 1, 1, 1) and not any(map(any, pads)):
        return jax.lax.dot_general(x, kernel[0, 0], (((3,), (0,)), ((), ())), precision=precision)
    at_once = _maps_at_once(x, kernel, window_strides)
    if not at_once:
        return general(x, kernel)

    def tiles(x: Array, kernel: Array) -> Array:
        return winograd_convolution(x, kernel, tuple(map(tuple, pads)), precision, at_once)

    return platform.on_processor(tiles, general, x, kernel)


def _maps_at_once(x: Array, kernel: Array, strides: Sequence[int]) -> int:
    """How many maps Winograd's form should transform together; 0 where it does not pay."""
    *sides, depth, out = kernel.shape
    if (*sides, *strides) != (SIDE, SIDE, 1, 1) or x.dtype != jnp.float32:
        return 0
    # Four places of a map become a tile of sixteen numbers, for its input and for its output.
    numbers = 4 * x.shape[1] * x.shape[2] * (depth + out)
    fewer, more = sorted((depth, out))
    if fewer < LEAST_TILED or more > MOST_UNEVEN * fewer or numbers > MOST_TILES:
        return 0
    together = max(1, CACHED_TILES // numbers)
    return together if len(x) <= together or chunking_pays() else 0


def depthwise_convolution(
    x: Float[Array, "B h w C"],
    kernel: Float[Array, "k k 1 C"],
    *,
    stride: int,
    padding: Padding = "same",
) -> Float[Array, "B h2 w2 C"]:
    """Depthwise convolution with a float32 result.

    On a CPU it is k * k shifted multiply-adds in float32, which XLA fuses into one pass. On two
    CPU cores MobileNet then runs at 182 images/s (batch 32, 224x224, block_11), against 23 images/s
    with `conv_general_dilated(feature_group_count=C)`, for which XLA's CPU backend has no fast
    kernel. Other platforms have one and use it, in the dtype of x.

    Args:
      x: NHWC maps.
      kernel: of odd side k.
      stride: of rows and columns.
      padding: "same" is TensorFlow's rule, "symmetric" PyTorch's k // 2 on every side; they differ
        where the stride is 2 and the side of the map is even.
    """
    side, depth = kernel.shape[0], x.shape[-1]
    pads = [_pads(length, side, stride, padding) for length in x.shape[1:3]]

    def shifted(x: Array, kernel: Array) -> Array:
        taps = kernel.astype(jnp.float32).reshape(side * side, 1, 1, 1, depth)
        parts = windows(x, (side, side), (stride, stride), pads)
        return functools.reduce(
            jnp.add,
            (part.astype(jnp.float32) * tap for part, tap in zip(parts, taps, strict=True)),
        )

    def grouped(x: Array, kernel: Array) -> Array:
        y = jax.lax.conv_general_dilated(
            x,
            kernel.astype(x.dtype),
            (stride, stride),
            pads,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=depth,
        )
        return y.astype(jnp.float32)

    return platform.on_processor(shifted, grouped, x, kernel)


def max_pool(
    x: Float[Array, "B h w C"], side: int, *, stride: int, pad: int = 0
) -> Float[Array, "B h2 w2 C"]:
    """Maxima of side x side windows; the padding, `pad` on every side, never wins."""
    pads = ((pad, pad), (pad, pad))
    parts = windows(x, (side, side), (stride, stride), pads, fill=-jnp.inf)
    return functools.reduce(jnp.maximum, parts)


def average_around(x: Float[Array, "B h w C"], *, count_border: bool) -> Float[Array, "B h w C"]:
    """Mean over the 3x3 cells around each cell; those beyond the border are zeros, or left out.

    Args:
      x: a map.
      count_border: divide by 9 everywhere (PyTorch's default) instead of by the cells inside
        (TensorFlow, Keras).
    """
    parts = windows(x, (3, 3), (1, 1), ((1, 1), (1, 1)))
    total = functools.reduce(jnp.add, (part.astype(jnp.float32) for part in parts))
    if count_border:
        return (total / 9).astype(x.dtype)
    rows, columns = map(_inside, x.shape[1:3])
    return (total / (rows[:, None] * columns)[None, :, :, None]).astype(x.dtype)


def windows(
    x: Float[Array, "B h w C"],
    sides: Sequence[int],
    strides: Sequence[int],
    pads: Pads,
    *,
    fill: float = 0.0,
) -> Iterator[Float[Array, "B h2 w2 C"]]:
    """For every place in a window, row by row, what all windows hold there."""
    value = jnp.asarray(fill, x.dtype)
    x = jax.lax.pad(x, value, [(0, 0, 0), *((*pad, 0) for pad in pads), (0, 0, 0)])
    lengths = zip(x.shape[1:3], sides, strides, strict=True)
    rows, columns = ((length - side) // stride + 1 for length, side, stride in lengths)
    for top in range(sides[0]):
        for left in range(sides[1]):
            bottom, right = top + (rows - 1) * strides[0] + 1, left + (columns - 1) * strides[1] + 1
            yield x[:, top : bottom : strides[0], left : right : strides[1]]


def _pads(length: int, side: int, stride: int, padding: Padding) -> tuple[int, int]:
    """(before, after) of one axis."""
    if padding == "symmetric":
        return side // 2, side // 2
    before_and_after = max((-(-length // stride) - 1) * stride + side - length, 0)
    return before_and_after // 2, before_and_after - before_and_after // 2


def _inside(length: int) -> np.ndarray:
    """Of each cell and its two neighbours along an axis, how many exist."""
    cell = np.arange(length)
    return np.float32(3) - (cell == 0) - (cell == length - 1)
