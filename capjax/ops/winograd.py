"""3x3 convolutions with fewer multiplications (Lavin & Gray 2015, arXiv 1509.09308): F(2x2, 3x3).

Four outputs of a 3x3 kernel take sixteen products of channels instead of thirty-six:

    Y = A^T [ (G g G^T) * (B^T d B) ] A

d is a 4x4 tile of the map, g the kernel, and * a product over channels at each of sixteen places:
over all tiles, sixteen matrix products [tiles C] x [C D]. What is saved in products is paid for in
sums, so it wins where channels are many and maps fit the caches. Rows of A^T, B^T and G
have at most three terms, 1 or 1/2 in size: in float32 the result is as close to the exact one as
the direct form's.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from capjax.ops.chunks import map_chunks

SIDE = 3
STEP = 2
"""Rows, and columns, of outputs in a tile."""


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def winograd_convolution(
    x: Float[Array, "B h w C"],
    kernel: Float[Array, "3 3 C D"],
    pads: tuple[tuple[int, int], ...],
    precision: jax.lax.PrecisionLike,
    at_once: int,
) -> Float[Array, "B h2 w2 D"]:
    """`jax.lax.conv_general_dilated` of stride 1, but for rounding.

    Its derivatives are convolutions of XLA: those of the form below would keep all transformed
    tiles, and are slower.

    Args:
      x: NHWC maps.
      kernel: HWIO.
      pads: (before, after) of the rows and columns, in zeros.
      precision: of the products.
      at_once: how many maps to transform at a time, at most.
    """
    transformed = [_of_kernel(taps) for taps in _of_kernel(kernel)]
    return map_chunks(functools.partial(_products, transformed, pads, precision), x, at_once)


def _products(
    kernel: Sequence[Sequence[Float[Array, "C D"]]],
    pads: tuple[tuple[int, int], ...],
    precision: jax.lax.PrecisionLike,
    x: Float[Array, "B h w C"],
) -> Float[Array, "B h2 w2 D"]:
    """The convolution with a transformed kernel, whose 4 x 4 places are given [row][column]."""
    batch, *sizes, _ = x.shape
    lengths = [size + sum(pad) - SIDE + 1 for size, pad in zip(sizes, pads, strict=True)]
    tiles = [-(-length // STEP) for length in lengths]
    # Zeros up to whole tiles; what comes of them is cut off again.
    whole = [
        (before, after + STEP * count - length)
        for (before, after), count, length in zip(pads, tiles, lengths, strict=True)
    ]
    x = jnp.pad(x, [(0, 0), *whole, (0, 0)])
    products = [
        [
            jax.lax.dot_general(place, weight, (((3,), (0,)), ((), ())), precision=precision)
            for place, weight in zip(_of_tiles(rows, 2, tiles[1]), weights, strict=True)
        ]
        for rows, weights in zip(_of_tiles(x, 1, tiles[0]), kernel, strict=True)
    ]
    columns = [_of_outputs(row) for row in products]
    corners = [_of_outputs(column) for column in zip(*columns, strict=True)]  # [column][row]
    # [B t 2 u 2 D], the rows and columns of every tile between those of its neighbours
    y = jnp.stack([jnp.stack(rows, axis=2) for rows in corners], axis=4)
    y = y.reshape(batch, STEP * tiles[0], STEP * tiles[1], -1)
    return y[:, : lengths[0], : lengths[1]]


@winograd_convolution.defjvp
def _derivative(
    pads: tuple[tuple[int, int], ...],
    precision: jax.lax.PrecisionLike,
    at_once: int,
    primals: tuple[Array, Array],
    tangents: tuple[Array, Array],
) -> tuple[Array, Array]:
    convolve = functools.partial(
        jax.lax.conv_general_dilated,
        window_strides=(1, 1),
        padding=pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )
    (x, kernel), (dx, dkernel) = primals, tangents
    y = winograd_convolution(x, kernel, pads, precision, at_once)
    return y, convolve(dx, kernel) + convolve(x, dkernel)


def _of_tiles(x: Array, axis: int, tiles: int) -> tuple[Array, ...]:
    """B^T d along one axis: four sums, each of two places of all tiles."""
    a, b, c, d = (
        jax.lax.slice_in_dim(x, start, start + STEP * (tiles - 1) + 1, stride=STEP, axis=axis)
        for start in range(4)
    )
    return a - c, b + c, c - b, b - d


def _of_kernel(taps: Array) -> tuple[Array, ...]:
    """G g along the first axis."""
    a, b, c = taps
    return a, (a + b + c) / 2, (a - b + c) / 2, c


def _of_outputs(places: Sequence[Array]) -> tuple[Array, Array]:
    """A^T m: the two outputs of four places."""
    a, b, c, d = places
    return a + b + c, b - c - d
