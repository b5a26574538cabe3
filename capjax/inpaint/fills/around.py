"""Fills the hole that an object leaves, whatever the sizes of picture and object.

Dilate the mask → cut around it → bring the cut to the size the fill was trained at → fill → back to
its own size → blend along the rim → paste. Every pixel outside the dilated mask stays as it is.
"""

import dataclasses
import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Bool, UInt8

from capjax.inpaint.fills.contract import (
    Fill,
    Images,
    Masks,
    Trained,
    check_pictures,
)
from capjax.inpaint.fills.crops import (
    Crop,
    crops,
    cut,
    dilated,
    opacity,
    resized,
    resized_known,
    resized_mask,
)

NEAR = 16
"""Pixels that fills which work at any size see around a hole at least, however small it is."""


@dataclasses.dataclass(frozen=True, eq=False)
class Filled:
    """A picture without what a mask removes.

    Attributes:
      image: [H W 3].
      changed: [H W] the dilated mask; pixels outside it are those of the picture.
      oversize: the hole is larger, as the fill sees it, than those it was trained on: expect a
        failure, and show it as one.
    """

    image: UInt8[np.ndarray, "H W 3"]
    changed: Bool[np.ndarray, "H W"]
    oversize: bool = False


@dataclasses.dataclass(frozen=True)
class Around:
    """How an object is cut out, filled and pasted.

    Attributes:
      dilate: pixels that a mask grows by first, for annotations end short of their objects' edges.
      context: side of what is cut, in sides of the object: a fill is trained on holes of at most
        half its pictures' sides, and 2 shows it no larger ones.
      feather: pixels from the rim of the grown mask inwards over which the fill fades in; at most
        `dilate`, so that nothing of what the mask removes shines through.
    """

    dilate: int = 5
    context: float = 2.0
    feather: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.dilate <= 200:
            raise ValueError(f"got around.dilate={self.dilate}; expected 0 to 200 pixels")
        if not 1.25 <= self.context <= 10:
            raise ValueError(f"got around.context={self.context}; expected 1.25 to 10")
        if not 0 <= self.feather <= self.dilate:
            raise ValueError(
                f"got around.feather={self.feather}; expected 0 to around.dilate, which is "
                f"{self.dilate}: a wider rim would show what is removed"
            )

    def __call__(self, fill: Fill, images: Images, masks: Masks) -> Images:
        """Pictures of one size without what the masks remove, [B H W 3].

        Raises:
          ValueError: other shapes or types, or nothing is known to fill a picture from.
        """
        check_pictures(images, masks)
        filled = [found.image for found in self.each(fill, list(images), list(masks))]
        return np.stack(filled) if filled else images.copy()

    def refusal(self, mask: Bool[np.ndarray, "H W"]) -> str | None:
        """Why a mask cannot be filled, for a person; None where it can."""
        return self._refusal(mask, self._hole(mask))

    def _hole(self, mask: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
        return dilated(mask, self.dilate) if mask.any() else mask.copy()

    def _refusal(self, mask: np.ndarray, hole: np.ndarray) -> str | None:
        if mask.all():
            return "the mask covers all of the picture, so that nothing is known to fill it from"
        if hole.all():
            return (
                f"the mask, grown by {self.dilate} pixels, covers all of the picture of "
                f"{mask.shape[1]} x {mask.shape[0]}: dilate it by less"
            )
        return None

    def each(
        self, fill: Fill, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]
    ) -> list[Filled]:
        """Pictures of any sizes without what their masks remove, in order.

        Objects of all sizes that are brought to the size of a trained fill are filled in one batch.
        Each picture depends on itself and its mask alone.

        Args:
          fill: what paints.
          images: each uint8 [H W 3]; one picture with several masks is given several times.
          masks: each bool [H W], True = remove.

        Raises:
          ValueError: other shapes or types, or one that `refusal` names.
        """
        works = []
        for image, mask in zip(images, masks, strict=True):
            check_pictures(np.asarray(image)[None], np.asarray(mask)[None])
            hole = self._hole(mask)
            if reason := self._refusal(mask, hole):
                raise ValueError(reason)
            works.append(_Work(image, mask, hole, self, fill.trained))
        trained = fill.trained
        if trained is None:
            with ThreadPoolExecutor() as pool:  # libraries that work on the host let others run
                list(pool.map(lambda work: work.fill_with(fill), works))
        elif parts := [(work, crop) for work in works for crop in work.crops]:
            pairs = [work.at(crop, trained.side) for work, crop in parts]
            pictures, holes = (np.stack(own) for own in zip(*pairs, strict=True))
            for (work, crop), painted in zip(parts, fill(pictures, holes), strict=True):
                work.paste(crop, painted)
        return [work.filled for work in works]


class _Work:
    """One picture, part by part."""

    def __init__(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        hole: np.ndarray,
        around: Around,
        trained: Trained | None,
    ) -> None:
        self.image, self.hole = image, hole
        self._mask, self._around, self._trained = mask, around, trained
        self._result = image.copy()

    @functools.cached_property
    def crops(self) -> list[Crop]:
        if not self.hole.any():
            return []
        least = self._trained.side if self._trained else NEAR
        square = self._trained is not None
        return [*crops(self.hole, self._around.context, least, square=square)]

    def fill_with(self, fill: Fill) -> None:
        """Fills all crops at their own sizes."""
        for crop in self.crops:
            image, hole = cut(self.image, crop.box), cut(self.hole, crop.box)
            self.paste(crop, fill(image[None], hole[None])[0])

    def at(self, crop: Crop, side: int) -> tuple[np.ndarray, np.ndarray]:
        """A crop and its hole in a square of `side`; known pixels are made of known ones alone."""
        image, hole = cut(self.image, crop.box), cut(self.hole, crop.box)
        return resized_known(image, hole, side), resized_mask(hole, side)

    def paste(self, crop: Crop, painted: np.ndarray) -> None:
        """Puts the part of a crop that is its own into the picture."""
        box, part = crop.box, crop.part
        if self._trained is not None:
            painted = resized(painted, crop.side)
        own = painted[part.top - box.top :, part.left - box.left :][: part.height, : part.width]
        share = opacity(self.hole, self._mask, part, self._around.feather)[..., None]
        there = self.image[part.slices]
        mixed = np.rint(share * own + (1 - share) * there).astype(np.uint8)
        self._result[part.slices] = np.where(self.hole[part.slices][..., None], mixed, there)

    @property
    def filled(self) -> Filled:
        trained = self._trained
        oversize = trained is not None and any(
            crop.need * trained.side > trained.hole * crop.side for crop in self.crops
        )
        return Filled(self._result, self.hole, oversize)
