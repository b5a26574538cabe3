"""Dense maps as means over the cells of a coarser grid that covers the same part of the picture."""

import dataclasses

import numpy as np
from jaxtyping import Float

from capjax.explainers.flags import reading_flags
from capjax.types import Explanation


def on_cells(explanation: Explanation, grid: tuple[int, int]) -> Explanation:
    """The same explanation with all its maps and errors as means over (h, w) cells.

    Means over areas: a fine cell that lies across a border counts on each side with its share.
    What is on such a grid, or on a coarser one, stays as it is. The standard error of a mean is at
    most the mean of the errors, which is taken: neighbouring pixels of a sampled map, which masks
    and superpixels cover together, err together. What flags say of values is said of the means.
    """
    rows, columns = explanation.geometry.grid
    if rows <= grid[0] and columns <= grid[1]:
        return explanation

    def mean(maps: Float[np.ndarray, "N F H W"] | None) -> np.ndarray | None:
        return None if maps is None else cell_means(maps, grid).astype(np.float32)

    maps = mean(explanation.maps)
    assert maps is not None  # an explanation has some
    return dataclasses.replace(
        explanation,
        maps=maps,
        phrase_maps=mean(explanation.phrase_maps),
        target_maps=mean(explanation.target_maps),
        error=mean(explanation.error),
        flags={**explanation.flags, **reading_flags(maps)},
        geometry=dataclasses.replace(explanation.geometry, grid=grid),
    )


def cell_means(
    maps: Float[np.ndarray, "N F H W"], grid: tuple[int, int]
) -> Float[np.ndarray, "N F h w"]:
    """Means over areas, in float64; of a coarser grid too, whose cells then repeat."""
    down, across = (
        _shares(fine, coarse) for fine, coarse in zip(maps.shape[2:], grid, strict=True)
    )
    found: np.ndarray = np.einsum("hH,nfHW,wW->nfhw", down, maps, across, optimize=True)
    return found


def _shares(fine: int, coarse: int) -> Float[np.ndarray, "coarse fine"]:
    """How much of each coarse cell every fine one is, the other way round too; rows sum to one."""
    edges = np.arange(fine + 1) * coarse / fine
    low = np.maximum(edges[None, :-1], np.arange(coarse)[:, None])
    high = np.minimum(edges[None, 1:], np.arange(1, coarse + 1)[:, None])
    return np.maximum(high - low, 0.0)
