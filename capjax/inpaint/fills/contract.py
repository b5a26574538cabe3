"""What a fill is: a frozen dataclass that paints the holes of pictures from what is around them.

A fill is called with pictures and masks and gives pictures back. Its fields are its options. What
holds of every fill is done here, once: nothing outside a mask changes, an empty mask changes
nothing, and nothing of what a mask removes reaches the fill, for it is given the mean colour of the
known pixels in its place.
"""

import abc
import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, UInt8

Images = UInt8[np.ndarray, "B H W 3"]
Masks = Bool[np.ndarray, "B H W"]


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a fill was trained on.

    Attributes:
      side: of its square pictures, in pixels.
      hole: the longest side of a hole among them, in pixels.
    """

    side: int
    hole: int


@dataclasses.dataclass(frozen=True)
class Fill(abc.ABC):
    """One way to fill holes. Its fields are its options.

    Attributes:
      NAME: what people call it by.
      COST: what it takes.
      SOURCE: paper.
    """

    NAME: ClassVar[str]
    COST: ClassVar[str]
    SOURCE: ClassVar[str]

    @property
    def trained(self) -> Trained | None:
        """What it was trained on; None of a fill that works at any size."""
        return None

    def check(self) -> None:
        """Asked before any work is done.

        Raises:
          ValueError: a library or a checkpoint is missing; the text says what to do.
        """
        return

    def describe(self) -> dict[str, Any]:
        """What its pictures depend on, as plain JSON values: its options, and digests of files."""
        return dataclasses.asdict(self)

    def __call__(self, images: Images, masks: Masks) -> Images:
        """The pictures with their holes filled; each depends on its own picture and mask alone.

        Args:
          images: [B H W 3] uint8, RGB.
          masks: [B H W] bool, True where to remove. An empty one leaves its picture as it is.

        Returns:
          [B H W 3] uint8, outside the masks equal to `images`.

        Raises:
          ValueError: other shapes or types, or a mask that covers all of its picture.
        """
        check_pictures(images, masks)
        if masks.all(axis=(1, 2)).any():
            row = int(masks.all(axis=(1, 2)).argmax())
            raise ValueError(
                f"mask {row} covers all of its picture, so that nothing is known to fill it from; "
                "leave that object out"
            )
        holed = np.flatnonzero(masks.any(axis=(1, 2)))
        filled = images.copy()
        if len(holed):
            own = masks[holed]
            painted = self.paint(without_holes(images[holed], own), own)
            filled[holed] = np.where(own[..., None], painted, images[holed])
        return filled

    @abc.abstractmethod
    def paint(self, images: Images, masks: Masks) -> Images:
        """Pictures whose holes are filled; what they are elsewhere is of no account.

        Args:
          images: with the mean colour of their known pixels in the holes.
          masks: none of them is empty, and none covers all.
        """


def check_pictures(images: Any, masks: Any) -> None:
    """Raises ValueError for what are no pictures [B H W 3] uint8 with masks [B H W] bool."""
    got = f"got {_described(images)} and masks {_described(masks)}"
    if getattr(images, "ndim", 0) == 5:
        raise ValueError(
            f"{got}; clips are filled frame by frame, each frame with a mask of its own: give "
            "images.reshape(-1, H, W, 3) and masks.reshape(-1, H, W)"
        )
    right = (
        getattr(images, "ndim", 0) == 4
        and images.shape[-1] == 3
        and images.dtype == np.uint8
        and getattr(masks, "dtype", None) == np.bool_
        and masks.shape == images.shape[:-1]
    )
    if not right:
        raise ValueError(
            f"{got}; expected images uint8 [B H W 3] and masks bool [B H W], True = remove"
        )


def _described(array: Any) -> str:
    return f"{getattr(array, 'dtype', type(array).__name__)} {getattr(array, 'shape', '')}".strip()


def without_holes(images: Images, masks: Masks) -> Images:
    """The pictures with the mean colour of their known pixels where the masks are True."""
    return np.stack([_blanked(image, mask) for image, mask in zip(images, masks, strict=True)])


def _blanked(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    blank = image.copy()
    blank[mask] = np.rint(image[~mask].mean(axis=0)).astype(np.uint8)
    return blank


def one_by_one(
    paint: Callable[[np.ndarray, np.ndarray], np.ndarray], images: Images, masks: Masks
) -> Images:
    """The results of a function of one picture and its mask, on the host's processors."""
    if len(images) == 1:
        return paint(images[0], masks[0])[None]
    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(paint, images, masks)))
