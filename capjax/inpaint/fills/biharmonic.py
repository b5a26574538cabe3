"""Fills holes by the smoothest surface that continues the known pixels, as scikit-image does."""

import dataclasses
from typing import Any

import numpy as np

from capjax.inpaint.fills.contract import Fill, Images, Masks, one_by_one


@dataclasses.dataclass(frozen=True)
class Biharmonic(Fill):
    """The solution of the biharmonic equation in each region of a hole.

    Attributes:
      most: pixels of a hole beyond which it is refused: the time and the memory of the equations
        grow faster than their number.
    """

    NAME = "biharmonic"
    COST = "the processor alone: about a second for 30,000 pixels, far more for larger holes"
    SOURCE = "Damelin & Hoang 2018, by scikit-image"

    most: int = 2**17

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"got biharmonic.most={self.most}; expected pixels, at least 1")

    def check(self) -> None:
        """Raises ValueError where scikit-image is missing."""
        _require()

    def paint(self, images: Images, masks: Masks) -> Images:
        """What scikit-image makes of each picture.

        Raises:
          ValueError: a hole has more than `most` pixels.
        """
        solve = _require()
        largest = int(masks.sum(axis=(1, 2)).max())
        if largest > self.most:
            raise ValueError(
                f"got a hole of {largest:,} pixels; biharmonic fills up to {self.most:,} "
                "(biharmonic.most): use another fill, or smaller pictures"
            )

        def paint(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
            found = solve(image / 255, mask, split_into_regions=True, channel_axis=-1)
            return np.rint(np.clip(found, 0, 1) * 255).astype(np.uint8)

        return one_by_one(paint, images, masks)


def _require() -> Any:
    try:
        from skimage.restoration import inpaint_biharmonic
    except ImportError as error:
        raise ValueError(
            'the fill biharmonic needs scikit-image: pip install "capjax[inpaint]"; or choose '
            "--fill=blur, which needs nothing"
        ) from error
    return inpaint_biharmonic
