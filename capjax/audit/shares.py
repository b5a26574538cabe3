"""Maps as shares of one: what of a map can be added over images, methods and scales."""

import numpy as np
from jaxtyping import Float

from capjax.explainers.scaling import both_signs, distribution
from capjax.types import Explanation


def shares_of(explanation: Explanation) -> Float[np.ndarray, "N F h w"]:
    """Each word's map with absolute values that sum to one, as the flag `entropy` reads it.

    Of logarithms, and of maps that are never positive and somewhere negative, exponentials are
    taken. Padding counts as zero, and a map that is zero everywhere stays so.
    """
    maps = np.asarray(explanation.maps, np.float64)
    if not maps.size or np.isnan(maps).all():
        return np.zeros_like(maps)
    low, high = float(np.nanmin(maps)), float(np.nanmax(maps))
    if explanation.unit or (low < 0 and not both_signs(low, high)):
        return np.nan_to_num(np.asarray(distribution(maps), np.float64))
    size = np.nan_to_num(np.abs(maps))
    total = size.sum(axis=(1, 2, 3), keepdims=True)
    shares: np.ndarray = size / np.where(total > 0, total, 1.0)
    return shares
