"""Objects from COCO instances JSON, and from the results that detectors write in COCO's format."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from capjax.data.boxes.instances import (
    AnnotatedImage,
    Instance,
    decode_run_lengths,
    fill_polygon,
    read_instances,
    segmentation,
)
from capjax.data.formats.encoded import decode_text
from capjax.data.formats.fields import Entry, load_json
from capjax.data.objects.region import Outline, Region, at_size, box_mask, ends

_RESULTS = (
    "A detector's results in COCO's format are a list of {image_id, category_id or category, bbox "
    "or segmentation, score}"
)
_LAST_NUMBER = re.compile(r"(\d+)\D*$")
_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
"""Ids from 1 to 90 that no class of COCO has."""
CLASSES = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    *("traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat"),
    *("dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack"),
    *("umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball"),
    *("kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket"),
    *("bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair"),
    *("couch", "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse"),
    *("remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink"),
    *("refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier"),
    "toothbrush",
)
"""Of COCO, in the order of their ids."""
COCO_IDS: Mapping[int, str] = dict(
    zip([number for number in range(1, 91) if number not in _GAPS], CLASSES, strict=True)
)


@dataclasses.dataclass(frozen=True)
class AnnotatedObjects:
    """Objects of COCO instances: polygons or run lengths where the file has them, else boxes.

    Attributes:
      images: by file name.
      left_out: a sentence for each kind of object that the file has and that is not among them.
    """

    images: Mapping[str, AnnotatedImage]
    left_out: tuple[str, ...] = ()

    def regions(self, name: str, image: UInt8[np.ndarray, "H W 3"]) -> list[Region] | None:
        """See `ObjectSource`; masks of a copy of another size are brought to it."""
        known = next((self.images[key] for key in _paths(name) if key in self.images), None)
        if known is None:
            return None
        size, own = image.shape[:2], (known.height, known.width)
        if abs(own[0] * size[1] - own[1] * size[0]) > max(*own, *size):
            raise ValueError(
                f"{name} has {size[1]}x{size[0]} pixels and its objects were drawn in a picture of "
                f"{own[1]}x{own[0]}, of another shape; give the file that belongs to it"
            )
        return [_region(instance, own, size) for instance in known.instances]


def _region(instance: Instance, own: tuple[int, int], size: tuple[int, int]) -> Region:
    mask = instance.mask(*own)
    outline: Outline = "runs" if isinstance(instance.segmentation, Mapping) else "polygon"
    if mask is None or not (mask.any() or instance.crowd):  # a polygon between pixel centres
        mask, outline = box_mask(instance.box, own), "box"
    return Region(instance.category, at_size(mask, size), outline, instance.crowd)


@dataclasses.dataclass(frozen=True)
class DetectedObjects:
    """Objects that a detector found.

    Attributes:
      found: image id, as text -> its entries, best first.
      classes: category id -> name.
    """

    found: Mapping[str, Sequence[Mapping[str, Any]]]
    classes: Mapping[int, str]

    def regions(self, name: str, image: UInt8[np.ndarray, "H W 3"]) -> list[Region] | None:
        """See `ObjectSource`. A photograph is known by its name, its stem or the last number in it.

        Boxes and polygons are in pixels of the photograph; run lengths say what size they are of.
        """
        size = image.shape[:2]
        for key in _keys(name):
            if key in self.found:
                return [self._region(entry, size) for entry in self.found[key]]
        return None

    def _region(self, entry: Mapping[str, Any], size: tuple[int, int]) -> Region:
        category = entry.get("category") or entry.get("category_name")
        if category is None:
            number = entry["category_id"]
            category = self.classes.get(number, f"class {number}")
        mask, outline = _mask(entry, size)
        return Region(str(category), mask, outline, score=float(entry["score"]))


def _mask(
    entry: Mapping[str, Any], size: tuple[int, int]
) -> tuple[Bool[np.ndarray, "H W"], Outline]:
    drawn = entry.get("segmentation")
    if not drawn:
        return box_mask(entry["bbox"], size), "box"
    if isinstance(drawn, Mapping):
        return at_size(decode_run_lengths(drawn), size), "runs"
    return np.any([fill_polygon(polygon, *size) for polygon in drawn], axis=0), "polygon"


def _paths(name: str) -> list[str]:
    return [name, *(path.as_posix() for path in ends(name))]


def _keys(name: str) -> list[str]:
    stem = PurePosixPath(name).stem
    number = _LAST_NUMBER.search(stem)
    return [*_paths(name), stem, *([str(int(number[1]))] if number else [])]


def read_objects(path: str | Path) -> AnnotatedObjects | DetectedObjects:
    """Objects of a JSON file: COCO instances, or a detector's results, told apart by content.

    Raises:
      FileNotFoundError: no file there.
      ValueError: one of another form; the entry and the field are named.
    """
    raw = Path(path).read_bytes()
    try:
        body = load_json(decode_text(raw))
    except ValueError as error:
        raise ValueError(
            f"{path} is no JSON of objects ({error}); expected COCO instances, or a detector's "
            "results in that format"
        ) from error
    if isinstance(body, list):
        return _results(path, body)
    images = read_instances(path)
    return AnnotatedObjects(images, images.left_out)


def _results(path: str | Path, body: Sequence[Any]) -> DetectedObjects:
    found: dict[str, list[Mapping[str, Any]]] = {}
    try:
        for number, fields in enumerate(body):
            if not isinstance(fields, Mapping):
                raise ValueError(f"entry {number} is no object. {_RESULTS}")
            entry = Entry(f"entry {number}", fields, _RESULTS)
            key = str(entry.id("image_id"))
            if not {"category_id", "category", "category_name"} & set(fields):
                raise entry.refuse("category_id", "a class of COCO, or `category`, a name")
            known: dict[str, Any] = {"score": entry.number("score")}
            if not segmentation(entry):
                known["bbox"] = entry.numbers("bbox")
                if len(known["bbox"]) != 4:
                    raise entry.refuse("bbox", "x, y, width and height in pixels")
            found.setdefault(key, []).append({**fields, **known})
    except ValueError as error:
        raise ValueError(f"{path} holds no results of a detector: {error}") from error
    best = {key: sorted(own, key=lambda one: -one["score"]) for key, own in found.items()}
    return DetectedObjects(best, COCO_IDS)
