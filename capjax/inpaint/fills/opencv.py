"""Fills holes as OpenCV does: by fast marching (Telea), or along lines of equal brightness."""

import dataclasses
from typing import Any

import numpy as np

from capjax.inpaint.fills.contract import Fill, Images, Masks, one_by_one


@dataclasses.dataclass(frozen=True)
class OpenCV(Fill):
    """What OpenCV's two fills have in common.

    Its code reads some pixels of a hole before it fills them; here these have the mean colour of
    the known pixels, as in every fill, and never that of what is removed.

    Attributes:
      radius: of the neighbourhood that a pixel is made from, in pixels.
    """

    COST = "the processor alone: some milliseconds for 10,000 pixels"

    radius: float = 3.0

    def __post_init__(self) -> None:
        if not 1 <= self.radius <= 100:
            raise ValueError(f"got {self.NAME}.radius={self.radius}; expected 1 to 100 pixels")

    def check(self) -> None:
        """Raises ValueError where OpenCV is missing."""
        self._require()

    def paint(self, images: Images, masks: Masks) -> Images:
        """What OpenCV makes of each picture."""
        cv2 = self._require()
        way = self._way(cv2)

        def paint(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
            return cv2.inpaint(np.ascontiguousarray(image), mask.astype(np.uint8), self.radius, way)

        return one_by_one(paint, images, masks)

    def _way(self, cv2: Any) -> int:
        raise NotImplementedError

    def _require(self) -> Any:
        try:
            import cv2
        except ImportError as error:
            raise ValueError(
                f'the fill {self.NAME} needs OpenCV: pip install "capjax[inpaint]"; or choose '
                "--fill=blur, which needs nothing"
            ) from error
        return cv2


@dataclasses.dataclass(frozen=True)
class Telea(OpenCV):
    """Weighted means of known neighbours, marched from the rim of the hole inwards.

    Attributes:
      radius: of the neighbourhood that a pixel is made from, in pixels.
    """

    NAME = "telea"
    SOURCE = "Telea 2004, by OpenCV"

    def _way(self, cv2: Any) -> int:
        return int(cv2.INPAINT_TELEA)


@dataclasses.dataclass(frozen=True)
class NavierStokes(OpenCV):
    """Lines of equal brightness, continued into the hole as a fluid would carry them.

    Attributes:
      radius: of the neighbourhood that a pixel is made from, in pixels.
    """

    NAME = "navier_stokes"
    SOURCE = "Bertalmio et al. 2001, by OpenCV"

    def _way(self, cv2: Any) -> int:
        return int(cv2.INPAINT_NS)
