"""Resizing and pooling of maps and images, as products with small matrices.

Libraries disagree about where an output sample lies in the input, a frequent silent mismatch;
here the rule is an argument.
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

Coordinates = Literal["half_pixel", "align_corners", "asymmetric"]
Method = Literal["nearest", "bilinear"]
_BLOCK = 64
"""Pixels of a block that is blurred by one product."""


def resize(
    x: Float[Array, "*batch H W C"],
    size: tuple[int, int],
    *,
    method: Method = "bilinear",
    coordinates: Coordinates = "half_pixel",
    antialias: bool = False,
) -> Float[Array, "*batch H2 W2 C"]:
    """`x` resized to `size` = (H2, W2), in the dtype of `x` (float32 for integers).

    Args:
      x: channels last.
      size: of the result.
      method: "nearest" or "bilinear".
      coordinates: where output sample i of m lies among n inputs; see `resize_matrix`.
      antialias: when shrinking, widens the triangle by the scale, as Pillow does.
    """
    rows = resize_matrix(x.shape[-3], size[0], method, coordinates, antialias=antialias)
    columns = resize_matrix(x.shape[-2], size[1], method, coordinates, antialias=antialias)
    return _separable(x, rows, columns)


def adaptive_average_pool(
    x: Float[Array, "*batch H W C"], size: tuple[int, int]
) -> Float[Array, "*batch H2 W2 C"]:
    """Window means, as PyTorch's AdaptiveAvgPool2d: the size may also be larger than the input."""
    return _separable(x, pool_matrix(x.shape[-3], size[0]), pool_matrix(x.shape[-2], size[1]))


def resize_matrix(
    n: int,
    m: int,
    method: Method = "bilinear",
    coordinates: Coordinates = "half_pixel",
    *,
    antialias: bool = False,
) -> np.ndarray:
    """[m, n] float32 weights that resample n values to m; every row sums to one.

    Output i lies at (i + .5) n/m - .5 ("half_pixel": PyTorch, TF2, Pillow, JAX),
    i (n - 1)/(m - 1) ("align_corners") or i n/m ("asymmetric": TF1's default).
    "nearest" rounds half up, except that "asymmetric" rounds down, as TF1 does.
    """
    _check(n, m)
    index = np.arange(m, dtype=np.float64)
    if coordinates == "half_pixel":
        position = (2 * index + 1) * n / (2 * m) - 0.5
    elif coordinates == "align_corners":
        position = index * (n - 1) / max(m - 1, 1)
    elif coordinates == "asymmetric":
        position = index * n / m
    else:
        raise ValueError(
            f"unknown coordinates {coordinates!r}; choose half_pixel, align_corners or asymmetric"
        )
    if method == "nearest":
        if antialias:
            raise ValueError("method 'nearest' has no antialias; use 'bilinear'")
        nearest = np.floor(position if coordinates == "asymmetric" else position + 0.5)
        return np.eye(n, dtype=np.float32)[np.clip(nearest, 0, n - 1).astype(int)]
    if method != "bilinear":
        raise ValueError(f"unknown method {method!r}; choose nearest or bilinear")
    if antialias and n > m:
        # Inputs outside the image have no weight, and the rest is renormalised.
        scale = n / m
    else:
        scale = 1.0
        position = np.clip(position, 0, n - 1)
    weights = np.maximum(1 - np.abs(position[:, None] - np.arange(n)[None]) / scale, 0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def pool_matrix(n: int, m: int) -> np.ndarray:
    """[m, n] float32: row i averages inputs floor(i n/m) .. ceil((i + 1) n/m) - 1."""
    _check(n, m)
    index = np.arange(m)[:, None]
    inputs = np.arange(n)[None]
    inside = (inputs >= index * n // m) & (inputs < -(-(index + 1) * n // m))
    return (inside / inside.sum(axis=1, keepdims=True)).astype(np.float32)


def gaussian_blur(
    x: Float[Array, "B H W C"],
    sigma: float,
    reach: int,
    *,
    border: Literal["constant", "symmetric"],
) -> Float[Array, "B H W C"]:
    """`x` with a Gaussian of weight 1, cut off beyond `reach` pixels.

    Args:
      x: pictures.
      sigma: standard deviation, in pixels.
      reach: of the kernel on each side.
      border: what lies beyond it: zeros ("constant"), or the mirrored picture ("symmetric").
    """
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    taps /= taps.sum()
    # Products with one small band matrix, block by block: as many operations at any size, on units
    # made for products. Convolutions of single channels are slow everywhere.
    inputs = np.arange(_BLOCK + 2 * reach)
    near = inputs - np.arange(_BLOCK)[:, None]
    band = np.where((near >= 0) & (near <= 2 * reach), taps[np.clip(near, 0, 2 * reach)], 0)
    for axis, form in ((1, "kj,bnjwc->bnkwc"), (2, "kj,bhnjc->bhnkc")):
        length = x.shape[axis]
        starts = np.arange(0, length, _BLOCK)
        for size, mode in (((reach, reach), border), ((0, -length % _BLOCK), "constant")):
            x = jnp.pad(x, [size if own == axis else (0, 0) for own in range(4)], mode=mode)
        blocks = jnp.take(x, starts[:, None] + inputs, axis=axis)
        found = jnp.einsum(form, band.astype(np.float32), blocks, precision=lax.Precision.HIGHEST)
        shape = [*found.shape[:axis], -1, *found.shape[axis + 2 :]]
        x = lax.slice_in_dim(found.reshape(shape), 0, length, axis=axis)
    return x


def halved(x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    """Means of 2 x 2 pixels, zeros beyond odd sides: the next level of a pyramid."""
    x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)))
    rows, height, width, channels = x.shape
    return x.reshape(rows, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


def doubled(x: Float[Array, "B H W C"]) -> Float[Array, "B 2H 2W C"]:
    """`resize` to twice the size, bilinear, in as many operations as pixels: back up a pyramid."""
    for axis in (1, 2):
        count = x.shape[axis]
        before = jnp.concatenate([lax.slice_in_dim(x, 0, 1, axis=axis), x], axis=axis)
        after = jnp.concatenate([x, lax.slice_in_dim(x, -1, None, axis=axis)], axis=axis)
        left = 0.75 * x + 0.25 * lax.slice_in_dim(before, 0, count, axis=axis)
        right = 0.75 * x + 0.25 * lax.slice_in_dim(after, 1, count + 1, axis=axis)
        shape = [own * 2 if at == axis else own for at, own in enumerate(x.shape)]
        x = jnp.stack([left, right], axis=axis + 1).reshape(shape)
    return x


def _separable(x: Array, rows: np.ndarray, columns: np.ndarray) -> Array:
    # Highest precision: accelerators would otherwise round interpolation weights to bfloat16.
    y = jnp.einsum(
        "rh,...hwc->...rwc", rows, x.astype(jnp.float32), precision=lax.Precision.HIGHEST
    )
    y = jnp.einsum("sw,...rwc->...rsc", columns, y, precision=lax.Precision.HIGHEST)
    return y.astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else y


def _check(n: int, m: int) -> None:
    if n < 1 or m < 1:
        raise ValueError(f"cannot resize {n} values to {m}; both must be at least 1")
