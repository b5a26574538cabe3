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
    kernel. Other platforms have one and use it, in the dtype of x. The backward pass is written by
    hand, so that forward mode (`jax.jvp`) is an error.

    Args:
      x: NHWC maps.
      kernel: of odd side k.
      stride: of rows and columns.
      padding: "same" is TensorFlow's rule, "symmetric" PyTorch's k // 2 on every side; they differ
        where the stride is 2 and the side of the map is even.
    """
    pads = tuple(_pads(length, kernel.shape[0], stride, padding) for length in x.shape[1:3])
    return _depthwise(x, kernel, stride, pads)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise(x: Array, kernel: Array, stride: int, pads: Pads) -> Array:
    def shifted(x: Array, kernel: Array) -> Array:
        parts = windows(x, kernel.shape[:2], (stride, stride), pads)
        taps = kernel.astype(jnp.float32).reshape(-1, 1, 1, 1, kernel.shape[-1])
        return functools.reduce(
            jnp.add,
            (part.astype(jnp.float32) * tap for part, tap in zip(parts, taps, strict=True)),
        )

    grouped = functools.partial(_grouped, stride=stride, pads=pads)
    return platform.on_processor(shifted, grouped, x, kernel)


def _grouped(x: Array, kernel: Array, *, stride: int, pads: Pads) -> Array:
    y = jax.lax.conv_general_dilated(
        x,
        kernel.astype(x.dtype),
        (stride, stride),
        pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )
    return y.astype(jnp.float32)


def _depthwise_forward(
    x: Array, kernel: Array, stride: int, pads: Pads
) -> tuple[Array, tuple[Array, Array]]:
    return _depthwise(x, kernel, stride, pads), (x, kernel)


def _depthwise_backward(
    stride: int, pads: Pads, kept: tuple[Array, Array], slope: Float[Array, "B h2 w2 C"]
) -> tuple[Array, Array]:
    """Gradients of the maps and of the kernel.

    What autodiff makes of shifted slices is a sum of k * k padded maps. With it, the gradient of
    MobileNet's features by its pixels takes a CPU core more than twice as long.
    """

    def spread(x: Array, kernel: Array, slope: Array) -> tuple[Array, Array]:
        back = _spread(slope, kernel.astype(jnp.float32), stride, pads, x.shape[1:3])
        parts = windows(x, kernel.shape[:2], (stride, stride), pads)
        taps = [jnp.sum(part.astype(jnp.float32) * slope, axis=(0, 1, 2)) for part in parts]
        of_kernel = jnp.stack(taps).reshape(kernel.shape)
        return back.astype(x.dtype), of_kernel.astype(kernel.dtype)

    def grouped(x: Array, kernel: Array, slope: Array) -> tuple[Array, Array]:
        of_both = jax.vjp(functools.partial(_grouped, stride=stride, pads=pads), x, kernel)[1]
        return of_both(slope)

    return platform.on_processor(spread, grouped, *kept, slope)


_depthwise.defvjp(_depthwise_forward, _depthwise_backward)


def _spread(
    slope: Float[Array, "B h2 w2 C"],
    kernel: Float[Array, "k k 1 C"],
    stride: int,
    pads: Pads,
    sides: Sequence[int],
) -> Float[Array, "B h w C"]:
    """The gradient of the maps: multiply-adds of the slope, for every phase of the stride alone.

    A place t of the padded map, t = q * stride + p, is read by the outputs q - m through the taps
    p + m * stride.
    """
    side = len(kernel)
    most = -(-side // stride)  # taps of a phase along an axis
    blocks = [-(-(length + sum(pad)) // stride) for length, pad in zip(sides, pads, strict=True)]
    around = [
        (most - 1, count - length, 0)
        for count, length in zip(blocks, slope.shape[1:3], strict=True)
    ]
    slope = jax.lax.pad(slope, jnp.zeros((), slope.dtype), [(0, 0, 0), *around, (0, 0, 0)])

    def phase(top: int, left: int) -> Array:
        parts = []
        for row in range(top, side, stride):
            for column in range(left, side, stride):
                down, across = most - 1 - row // stride, most - 1 - column // stride
                seen = slope[:, down : down + blocks[0], across : across + blocks[1]]
                parts.append(seen * kernel[row, column, None, None])
        if not parts:  # a kernel smaller than the stride
            return jnp.zeros_like(slope[:, : blocks[0], : blocks[1]])
        return functools.reduce(jnp.add, parts)

    rows = [jnp.stack([phase(p, q) for q in range(stride)], axis=3) for p in range(stride)]
    whole = jnp.stack(rows, axis=2)  # [B q s r s C]
    whole = whole.reshape(len(slope), stride * blocks[0], stride * blocks[1], -1)
    (top, _), (left, _) = pads
    return whole[:, top : top + sides[0], left : left + sides[1]]


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
