"""A detector ready to use: a net, its weights, and how photographs are prepared for it."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8
from PIL import Image

from capjax.detectors.detr import STRIDE, Detr, Found, probabilities

ROUNDED = 4 * STRIDE
"""Pictures are padded to multiples of this side, so that few shapes are compiled."""


class Detection(NamedTuple):
    """One object.

    Attributes:
      category: such as "dog".
      score: probability of that class, 0 to 1.
      box: (x, y, width, height) in pixels of the photograph, cut at its borders.
    """

    category: str
    score: float
    box: tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Detector:
    """Finds the objects of photographs.

    Attributes:
      net: of a family.
      variables: its weights.
      classes: name of each class, by its number; numbers without a name are never given.
      origin: where the weights are from.
      shorter, longest: pixels that the shorter side of a photograph is brought to, unless the
        longer one would be longer than `longest`.
      mean, std: of each colour, 0 to 255.
      digests: sha256 of each file that it was read from.
    """

    net: Detr
    variables: Mapping[str, Any]
    classes: Mapping[int, str]
    origin: str
    shorter: int = 800
    longest: int = 1333
    mean: tuple[float, float, float] = (255 * 0.485, 255 * 0.456, 255 * 0.406)
    std: tuple[float, float, float] = (255 * 0.229, 255 * 0.224, 255 * 0.225)
    digests: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __call__(self, image: UInt8[np.ndarray, "H W 3"], least: float = 0.5) -> list[Detection]:
        """The objects of one photograph, best first.

        Args:
          image: upright and whole.
          least: score from which a query counts as an object.

        Raises:
          ValueError: the image has another shape or type.
        """
        images, valid = self.prepared(image)
        found = _detect(self.net, self.variables, images[None], valid[None])
        height, width = image.shape[:2]
        scores = np.asarray(probabilities(found.logits)[0])
        named = sorted(number for number in self.classes if number < scores.shape[1])
        best = scores[:, named].argmax(axis=1)
        detections = []
        for query, (x, y, w, h) in enumerate(np.asarray(found.boxes[0]).tolist()):
            number = named[best[query]]
            score = float(scores[query, number])
            if score >= least:
                left, right = ((x + sign * w / 2) * width for sign in (-1, 1))
                top, bottom = ((y + sign * h / 2) * height for sign in (-1, 1))
                left, right = max(left, 0.0), min(right, float(width))
                top, bottom = max(top, 0.0), min(bottom, float(height))
                box = (left, top, right - left, bottom - top)
                detections.append(Detection(self.classes[number], score, box))
        return sorted(detections, key=lambda one: -one.score)

    def prepared(
        self, image: UInt8[np.ndarray, "H W 3"]
    ) -> tuple[Float[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
        """What the net is given: resized, normalised and padded, and which pixels are no padding.

        Raises:
          ValueError: the image has another shape or type.
        """
        if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8 or not image.size:
            raise ValueError(f"got an image {image.shape} of {image.dtype}; expected uint8 [H W 3]")
        height, width = resized_sides(image.shape[:2], self.shorter, self.longest)
        seen = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        whole = tuple(-(-side // ROUNDED) * ROUNDED for side in (height, width))
        normal = np.zeros((*whole, 3), np.float32)
        normal[:height, :width] = (np.asarray(seen, np.float32) - self.mean) / self.std
        valid = np.zeros(whole, bool)
        valid[:height, :width] = True
        return normal, valid


def resized_sides(size: tuple[int, int], shorter: int, longest: int) -> tuple[int, int]:
    """(height, width) with `shorter` as the shorter side, or `longest` as about the longer one.

    Rounded as DETR's authors do.
    """
    small, large = min(size), max(size)
    short: float = shorter
    if large / small * shorter > longest:
        short = longest * small / large
    sides = tuple(round(short) if side == small else int(short * side / small) for side in size)
    return max(sides[0], 1), max(sides[1], 1)


@functools.partial(jax.jit, static_argnums=0)
def _detect(
    net: Detr,
    variables: Mapping[str, Any],
    images: Float[Array, "B H W 3"],
    valid: Bool[Array, "B H W"],
) -> Found:
    found: Any = net.apply(variables, images, valid)
    return Found(*found)
