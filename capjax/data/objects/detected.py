"""Objects that a detector finds in each photograph, without annotations."""

import dataclasses

import numpy as np
from jaxtyping import UInt8

from capjax.data.objects.region import Region, box_mask
from capjax.detectors.detector import Detector

LEAST = 0.3
"""Score from which a query is listed as an object; the study's own limit may be higher."""


@dataclasses.dataclass(frozen=True, eq=False)
class FoundObjects:
    """The boxes of a detector, best first.

    Attributes:
      detector: that looks at each photograph.
    """

    detector: Detector

    def regions(self, name: str, image: UInt8[np.ndarray, "H W 3"]) -> list[Region]:
        """See `ObjectSource`; a box covers more than its object."""
        return [
            Region(one.category, box_mask(one.box, image.shape[:2]), "box", score=one.score)
            for one in self.detector(image, LEAST)
        ]
