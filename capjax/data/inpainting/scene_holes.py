"""Scenes with one object taken out: what was behind it, and the hole where it stood."""

import dataclasses

import numpy as np
from PIL import Image, ImageFilter

from capjax.data.batches.loading import Batch
from capjax.data.scenes.still import IMAGE_SIZES, scene, scene_without

SMALLEST = min(min(size) for size in IMAGE_SIZES)
"""Side of the largest square that every scene holds."""


@dataclasses.dataclass(frozen=True)
class SceneHoles:
    """Square parts of scenes without one of their objects, distractors included.

    `image` [B S S 3] uint8 is the scene as if the object had not been drawn, which is what should
    be painted; `hole` [B S S] bool is where its pixels were seen, grown on every side. A part holds
    all of a hole that fits into it, anywhere in it with the same probability.

    Attributes:
      split: of the scenes.
      side: S, at most `SMALLEST`.
      grow: pixels that a hole is larger than its object.
      mirror: whether parts that are drawn may be mirrored.
    """

    split: str
    side: int
    grow: int = 5
    mirror: bool = True

    def __post_init__(self) -> None:
        if self.side > SMALLEST:
            raise ValueError(
                f"data.side is {self.side}, and some scenes are {SMALLEST} pixels high; expected "
                "no more"
            )

    def __call__(self, numbers: np.ndarray) -> Batch:
        """A part of each scene, always the same one."""
        parts = [self._part(int(each), np.random.default_rng(int(each))) for each in numbers]
        return {name: np.stack([part[name] for part in parts]) for name in ("image", "hole")}

    def drawn(self, number: int, random: np.random.Generator) -> Batch:
        """A part of one scene, around an object of its that is drawn."""
        part = self._part(number, random)
        if self.mirror and random.random() < 0.5:
            return {name: array[:, ::-1] for name, array in part.items()}
        return part

    def _part(self, number: int, random: np.random.Generator) -> Batch:
        objects = scene(number, split=self.split).objects
        gone = int(random.integers(len(objects)))
        image = scene_without(number, (gone,), split=self.split)
        hole = _grown(objects[gone].mask, self.grow)
        rows, columns = (np.flatnonzero(hole.any(axis=axis)) for axis in (1, 0))
        top = self._place(rows, hole.shape[0], random)
        left = self._place(columns, hole.shape[1], random)
        window = np.s_[top : top + self.side, left : left + self.side]
        return {"image": image[window], "hole": hole[window]}

    def _place(self, inside: np.ndarray, length: int, random: np.random.Generator) -> int:
        """Where a part begins that holds `inside`, or as much of its beginning as it can."""
        first, last = max(0, int(inside[-1]) + 1 - self.side), length - self.side
        last = max(0, min(last, int(inside[0])))
        return int(random.integers(min(first, last), last + 1))


def _grown(mask: np.ndarray, by: int) -> np.ndarray:
    """A mask and all pixels at most `by` rows and columns away from it."""
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(picture.filter(ImageFilter.MaxFilter(2 * by + 1))) > 0
