"""Pictures with a hole, filled, and as they were, beside each other."""

import numpy as np
from jaxtyping import Bool, UInt8

GAP = 4
"""Pixels between pictures."""

HOLE, GROUND = 255, 255
"""Grey levels of holes, and of what is between pictures."""


def masked(
    images: UInt8[np.ndarray, "*B H W 3"], masks: Bool[np.ndarray, "*B H W"]
) -> UInt8[np.ndarray, "*B H W 3"]:
    """Pictures with their holes in white."""
    return np.where(masks[..., None], np.uint8(HOLE), images)


def side_by_side(
    originals: UInt8[np.ndarray, "B H W 3"],
    masks: Bool[np.ndarray, "B H W"],
    filled: UInt8[np.ndarray, "B H W 3"],
) -> UInt8[np.ndarray, "H2 W2 3"]:
    """A row a picture: with its hole in white, filled, and the original.

    Args:
      originals: as they were.
      masks: True in the hole.
      filled: without it.
    """
    columns = [
        np.pad(each, ((0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=GROUND)
        for each in (masked(originals, masks), filled, originals)
    ]
    rows = np.concatenate(columns, axis=2)
    return np.concatenate(list(rows), axis=0)[:-GAP, :-GAP]
