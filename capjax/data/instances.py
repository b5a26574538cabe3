"""Objects in COCO instances JSON: categories, boxes, and masks from polygons or run lengths."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from capjax.ops.boxes import Box, pixels_between


@dataclasses.dataclass(frozen=True)
class Instance:
    """One object of an image.

    Attributes:
      id: of the annotation.
      category: name, such as "dog".
      box: (x, y, width, height) in pixels of the image.
      area: in pixels, as the file states it; copies with resized boxes may state the box's.
      crowd: whether this is a region of many objects that were not told apart.
      segmentation: polygons [[x1, y1, …], …], run lengths {"size", "counts"}, or empty.
    """

    id: int
    category: str
    box: tuple[float, float, float, float]
    area: float
    crowd: bool
    segmentation: Sequence[Sequence[float]] | Mapping[str, Any]

    def pixels(self) -> Box:
        """The box as (x0, y0, x1, y1), 0-based and inclusive: the pixels whose centre it covers.

        At least one, however small the box.
        """
        ends = []
        for start, length in zip(self.box[:2], self.box[2:], strict=True):
            first, last = pixels_between(start, start + length)
            middle = math.floor(start + length / 2)
            ends.append((first, last) if first <= last else (middle, middle))
        (left, right), (top, bottom) = ends
        return left, top, right, bottom

    def mask(self, height: int, width: int) -> Bool[np.ndarray, "H W"] | None:
        """Pixels of the object, or None where the file has only its box."""
        if not self.segmentation:
            return None
        if isinstance(self.segmentation, Mapping):
            mask = decode_run_lengths(self.segmentation)
            if mask.shape != (height, width):
                raise ValueError(
                    f"mask of annotation {self.id} is {mask.shape}, its image {(height, width)}"
                )
            return mask
        mask = np.zeros((height, width), bool)
        for polygon in self.segmentation:
            mask |= fill_polygon(polygon, height, width)
        return mask


@dataclasses.dataclass(frozen=True)
class AnnotatedImage:
    """One image and its objects.

    Attributes:
      file_name: as captions files of the same images name it.
      image_id: its number.
      height, width: in pixels.
      instances: in the order of the file; empty where the image has none.
    """

    file_name: str
    image_id: int
    height: int
    width: int
    instances: tuple[Instance, ...]


def read_instances(path: str | Path) -> dict[str, AnnotatedImage]:
    """Images of an instances file by file name.

    Raises:
      FileNotFoundError: no file there.
      ValueError: one of another form.
    """
    try:
        body = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        categories = {entry["id"]: entry["name"] for entry in body["categories"]}
        found: dict[int, list[Instance]] = {entry["id"]: [] for entry in body["images"]}
        for entry in body["annotations"]:
            x, y, width, height = map(float, entry["bbox"])
            instance = Instance(
                id=entry["id"],
                category=categories[entry["category_id"]],
                box=(x, y, width, height),
                area=float(entry["area"]),
                crowd=bool(entry["iscrowd"]),
                segmentation=entry.get("segmentation") or (),
            )
            found[entry["image_id"]].append(instance)
        return {
            entry["file_name"]: AnnotatedImage(
                file_name=entry["file_name"],
                image_id=entry["id"],
                height=entry["height"],
                width=entry["width"],
                instances=tuple(found[entry["id"]]),
            )
            for entry in body["images"]
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no COCO instances JSON ({type(error).__name__}: {error}); expected "
            "images, categories, and annotations with bbox, category_id, image_id, area, iscrowd"
        ) from error


def decode_run_lengths(encoded: Mapping[str, Any]) -> Bool[np.ndarray, "H W"]:
    """Mask of `{"size": [H, W], "counts": …}`: runs down the columns, the first one of zeros.

    `counts` is a list, or COCO's compressed string: six bits a character, of which five carry the
    value, least significant first, and one says that more follow; from the fourth value on, the
    difference to the value two places back.
    """
    height, width = encoded["size"]
    counts = encoded["counts"]
    counts = _decompress(counts) if isinstance(counts, str) else list(counts)
    if sum(counts) != height * width:
        raise ValueError(f"run lengths add up to {sum(counts)}, not to {height}x{width} pixels")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T


def _decompress(text: str) -> list[int]:
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    return counts


def fill_polygon(polygon: Sequence[float], height: int, width: int) -> Bool[np.ndarray, "H W"]:
    """Pixels whose centre lies in a polygon x1, y1, x2, y2, … (even-odd rule).

    pycocotools walks an upsampled boundary instead: masks differ by at most a pixel there.
    """
    corners = np.asarray(polygon, np.float64).reshape(-1, 2)
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    inside = np.zeros((height, width), bool)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        rows = np.flatnonzero((y1 <= y) != (y2 <= y))
        crossing = x1 + (y[rows] - y1) * (x2 - x1) / (y2 - y1) if len(rows) else np.zeros(0)
        inside[rows] ^= x[None, :] < crossing[:, None]
    return inside
