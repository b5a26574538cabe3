"""Objects of rendered scenes, and scenes rendered again without them: the exact fill."""

import dataclasses
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, UInt8

from capjax.data.objects.region import Region
from capjax.data.scenes.still import Scene, Scenes, scene_without


@dataclasses.dataclass(frozen=True)
class SceneObjects:
    """Everything drawn in scenes, distractors included, as objects with their visible pixels.

    A category is colour and shape, as captions say them ("red star"), which is more than a class:
    of two stars a caption's words name one. It is also the fill that knows the truth: called with
    pictures of these scenes and masks of some of their objects, it draws the scenes without them.
    Shades at an object's rim and what it hid come with it, so that pixels beside the mask change
    too.

    Attributes:
      scenes: which.
    """

    scenes: Scenes
    _number: Mapping[int, int] = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        known = {
            zlib.crc32(scene.image.tobytes()): number for number, scene in enumerate(self.scenes)
        }
        object.__setattr__(self, "_number", known)

    def regions(self, name: str, image: UInt8[np.ndarray, "H W 3"]) -> list[Region] | None:
        """See `ObjectSource`; scenes are known by their pixels, whatever they are called."""
        number = self._number.get(zlib.crc32(image.tobytes()))
        return None if number is None else scene_regions(self.scenes[number])

    def __call__(
        self, images: UInt8[np.ndarray, "B H W 3"], masks: Bool[np.ndarray, "B H W"]
    ) -> UInt8[np.ndarray, "B H W 3"]:
        """The scenes without the objects whose pixels the masks are made of.

        Raises:
          ValueError: a picture of none of the scenes, or a mask that is no union of its objects.
        """
        filled = np.empty_like(images)
        for row, (image, mask) in enumerate(zip(images, masks, strict=True)):
            number = self._number.get(zlib.crc32(image.tobytes()))
            if number is None:
                raise ValueError(
                    "the exact fill knows its own scenes alone, and this picture is none of them; "
                    "choose another fill"
                )
            gone = _objects_of(mask, self.scenes[number])
            split, seed = self.scenes.split, self.scenes.seed
            filled[row] = scene_without(number, gone, split=split, seed=seed)
        return filled


def scene_regions(scene: Scene) -> list[Region]:
    """The objects of one scene, in the order in which they were drawn."""
    return [Region(f"{item.colour} {item.shape}", item.mask, "scene") for item in scene.objects]


def _objects_of(mask: Bool[np.ndarray, "H W"], scene: Scene) -> Sequence[int]:
    inside = [at for at, item in enumerate(scene.objects) if not np.any(item.mask & ~mask)]
    union = np.any([scene.objects[at].mask for at in inside], axis=0) if inside else False
    if np.any(mask != union):
        raise ValueError(
            "the exact fill removes whole objects, and this mask is no union of the scene's; take "
            "masks from the scene, undilated, or choose another fill"
        )
    return inside
