"""Missing pixels as means of their neighbours (ROAD), for many images with masks of their own.

The linear system of `capjax.metrics.faithfulness.linear_imputation`, by conjugate gradients from
coarse to fine (cascadic, Bornemann & Deuflhard 1996): what a coarser level leaves wrong is local,
and goes in a few steps.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

COARSEST = 8
"""Pixels of the longer side at which the first level is solved."""
ITERATIONS = {8: 32, 16: 32, 32: 32, 64: 32, 128: 24}
"""Steps at levels whose longer side has at most so many pixels; `FINEST` at larger ones."""
FINEST = 12

Planes = Float[Array, "B C H W"]


def impute(
    images: Float[Array, "B H W C"], missing: Bool[Array, "B H W"]
) -> Float[Array, "B H W C"]:
    """Images whose missing pixels are the weighted means of their eight neighbours.

    Weights are 1/6 of direct and 1/12 of diagonal neighbours, divided by their sum where some lie
    outside the image. Where every pixel is missing all are 0. The number of steps is fixed, so that
    a row's result depends on that row alone.

    Args:
      images: with anything at missing pixels, and 0 a colour that means nothing.
      missing: which pixels are imputed.
    """
    known = 1.0 - missing[:, None].astype(images.dtype)
    planes = images.transpose(0, 3, 1, 2)  # colours last would leave most of a vector unit idle
    return _solved(planes * known, known).transpose(0, 2, 3, 1)


def _solved(values: Planes, known: Float[Array, "B 1 H W"]) -> Planes:
    """The solution at one level; `values` are 0 where nothing is known."""
    height, width = values.shape[2:]
    side = max(height, width)
    start = jnp.zeros_like(values)
    if side > COARSEST:
        count = _halved(known)
        coarse = _solved(_halved(values) / jnp.maximum(count, 1.0), jnp.minimum(count, 1.0))
        rows, columns = coarse.shape[2:]
        fine = (*values.shape[:2], 2 * rows, 2 * columns)
        start = jax.image.resize(coarse, fine, "linear")[:, :, :height, :width]
    steps = next((steps for most, steps in ITERATIONS.items() if side <= most), FINEST)
    return _conjugate_gradients(values, start, known, steps)


def _conjugate_gradients(
    values: Planes, start: Planes, known: Float[Array, "B 1 H W"], steps: int
) -> Planes:
    missing = 1.0 - known
    total = _neighbours(jnp.ones_like(known[:1]))

    def apply(x: Planes) -> Planes:
        return missing * (total * x - _neighbours(x))

    def step(_: int, state: tuple[Array, ...]) -> tuple[Array, ...]:
        x, residual, direction, power = state
        image = apply(direction)
        length = _ratio(power, _inner(direction, image))
        residual = residual - length * image
        new = _inner(residual, residual)
        return x + length * direction, residual, residual + _ratio(new, power) * direction, new

    x = values + missing * start
    residual = -apply(x)
    first = (x, residual, residual, _inner(residual, residual))
    return jax.lax.fori_loop(0, steps, step, first)[0]


def _neighbours(x: Planes) -> Planes:
    """The weighted sum of each pixel's eight neighbours inside the image."""
    smooth = x
    for axis in (2, 3):  # (1 2 1) both ways is 1 diagonal, 2 direct and 4 of the pixel itself
        around = jnp.pad(smooth, [(1, 1) if own == axis else (0, 0) for own in range(4)])
        length = x.shape[axis]
        sides = [jax.lax.slice_in_dim(around, at, at + length, axis=axis) for at in (0, 2)]
        smooth = sides[0] + 2 * smooth + sides[1]
    return (smooth - 4 * x) / 12


def _inner(one: Planes, other: Planes) -> Float[Array, "B C 1 1"]:
    return jnp.sum(one * other, axis=(2, 3), keepdims=True)


def _ratio(one: Array, other: Array) -> Array:
    """0 where there is nothing left to solve."""
    return jnp.where(other > 0, one / jnp.where(other > 0, other, 1.0), 0.0)


def _halved(x: Planes) -> Planes:
    """Sums over 2 x 2 pixels; an odd border counts alone."""
    x = jnp.pad(x, ((0, 0), (0, 0), (0, x.shape[2] % 2), (0, x.shape[3] % 2)))
    batch, depth, height, width = x.shape
    return x.reshape(batch, depth, height // 2, 2, width // 2, 2).sum(axis=(3, 5))
