"""Maps on the feature grid at every pixel of the photograph, for pictures and for metrics."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from capjax.types import Geometry

ARCTIC_SMOOTHING = 20 / 16
"""Show, Attend and Tell's figures: upscaled 16 times, then blurred with sigma = 20 pixels."""

SGRVINOD_SMOOTHING = 8 / 24
"""The PyTorch tutorial's figures: upscaled 24 times, then blurred with sigma = 8 pixels."""

SAMPLES_PER_CELL = 16


def upsample(
    maps: Float[np.ndarray, "*N h w"],
    geometry: Geometry,
    *,
    size: tuple[int, int] | None = None,
    smooth: float = 0.0,
) -> Float[np.ndarray, "*N H W"]:
    """Maps at every pixel of the photograph: bilinear between cell centres, flat beyond the last.

    Args:
      maps: on the feature grid.
      geometry: where the grid lies on the original photograph.
      size: (H, W) of a smaller or larger copy of the whole photograph; default its own size.
      smooth: standard deviation of a Gaussian, in grid cells; 0 for none. The published figures
        use `ARCTIC_SMOOTHING` and `SGRVINOD_SMOOTHING`. Reflected at the border of the crop.

    Returns:
      float32, NaN where the encoder saw nothing.

    Raises:
      ValueError: the maps are not on the geometry's grid.
    """
    maps = np.asarray(maps, np.float32)
    if maps.shape[-2:] != tuple(geometry.grid):
        raise ValueError(
            f"got maps of shape {maps.shape}; the geometry's grid is {geometry.grid}, so the last "
            "two axes should be that"
        )
    if size is not None:
        geometry = dataclasses.replace(geometry, original=size)
    rows, columns = geometry.grid_coordinates()
    return _along(_along(maps, rows, -2, smooth), columns, -1, smooth)


def _along(
    maps: np.ndarray, coordinates: Float[np.ndarray, " S"], axis: int, smooth: float
) -> np.ndarray:
    """Maps sampled at grid coordinates of one axis; NaN outside the grid."""
    cells = maps.shape[axis]
    outside = (coordinates < -0.5) | (coordinates > cells - 0.5)
    if smooth > 0.0:
        blurred = np.moveaxis(maps, axis, -1) @ _blur(cells, smooth).T
        maps = np.moveaxis(blurred, -1, axis)
        coordinates = (coordinates + 0.5) * SAMPLES_PER_CELL - 0.5
        cells *= SAMPLES_PER_CELL
    left, part = _neighbours(coordinates, cells)
    # Two gathers rather than a product with a sparse matrix: BLAS threads would compete with the
    # accelerator's host threads for a product this small.
    part = part.astype(np.float32).reshape(-1, *(1,) * (-1 - axis))
    first = np.take(maps, left, axis=axis)
    fine = first + part * (np.take(maps, np.minimum(left + 1, cells - 1), axis=axis) - first)
    np.moveaxis(fine, axis, 0)[outside] = np.nan
    return fine


def _neighbours(coordinates: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """The cell before each coordinate, and how far it lies towards the next; flat at the ends."""
    place = np.clip(coordinates, 0, cells - 1)
    left = np.minimum(place.astype(np.intp), max(cells - 2, 0))
    return left, place - left


@functools.lru_cache(maxsize=32)
def _blur(cells: int, smooth: float) -> Float[np.ndarray, "n h"]:
    """The matrix from cells to `SAMPLES_PER_CELL` blurred points a cell, reflected at both ends."""
    count = cells * SAMPLES_PER_CELL
    left, part = _neighbours((np.arange(count) + 0.5) / SAMPLES_PER_CELL - 0.5, cells)
    identity = np.eye(cells)
    sharp = identity[left] * (1 - part)[:, None]
    sharp += identity[np.minimum(left + 1, cells - 1)] * part[:, None]
    blurred = gaussian_filter1d(sharp, smooth * SAMPLES_PER_CELL, axis=0, mode="reflect")
    return blurred.astype(np.float32)
