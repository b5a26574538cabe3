"""Objects in COCO instances JSON: categories, boxes, and masks from polygons or run lengths."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from capjax.data.formats.encoded import decode_text
from capjax.data.formats.fields import Entry, Id, Ids, load_json, shown
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

    id: Id
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
    image_id: Id
    height: int
    width: int
    instances: tuple[Instance, ...]


@dataclasses.dataclass(frozen=True)
class AnnotatedImages(Mapping[str, AnnotatedImage]):
    """Images of an instances file by file name.

    Attributes:
      images: by name, in the order of the file.
      left_out: one sentence for each kind of object that was left out.
    """

    images: Mapping[str, AnnotatedImage]
    left_out: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> AnnotatedImage:
        return self.images[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)


_SOURCE = (
    "A COCO instances JSON has categories with id and name, images with id, file_name, height and "
    "width, and annotations with image_id, category_id and bbox"
)


def read_instances(path: str | Path) -> AnnotatedImages:
    """Images of an instances file by file name.

    `area` and `iscrowd` may be missing: the box's area, and no crowd. Objects with an empty box
    are left out, and counted.

    Raises:
      FileNotFoundError: no file there.
      ValueError: one of another form; the entry and the field are named.
    """
    try:
        file = Entry("", _object(load_json(decode_text(Path(path).read_bytes()))), _SOURCE)
        return _parse(file)
    except ValueError as error:
        raise ValueError(f"{path} is no COCO instances JSON: {error}") from error


def _object(body: Any) -> Mapping[str, Any]:
    if not isinstance(body, Mapping):
        raise ValueError(f"got {shown(body)}. {_SOURCE}")
    return body


def _parse(file: Entry) -> AnnotatedImages:
    categories = Ids((c.id("id"), c.text("name")) for c in file.entries("categories", "category"))
    entries = file.entries("images", "image")
    names = Ids((entry.id("id"), entry.text("file_name")) for entry in entries)
    found: dict[str, list[Instance]] = {entry.text("file_name"): [] for entry in entries}
    empty: list[str] = []
    for number, entry in enumerate(file.entries("annotations", "annotation")):
        name, category = names.find(entry.id("image_id")), categories.find(entry.id("category_id"))
        if name is None:
            raise entry.refuse("image_id", "the id of one of the images")
        if category is None:
            raise entry.refuse("category_id", "the id of one of the categories")
        box = _box(entry)
        if box is None:
            empty.append(f"{entry.where} ({category} of {name})")
        else:
            found[name].append(_instance(entry, number, category, box))
    images = {
        entry.text("file_name"): AnnotatedImage(
            file_name=entry.text("file_name"),
            image_id=entry.id("id"),
            height=_side(entry, "height"),
            width=_side(entry, "width"),
            instances=tuple(found[entry.text("file_name")]),
        )
        for entry in entries
    }
    lost = (f"{len(empty)} objects with an empty box, first {empty[0]}",) if empty else ()
    return AnnotatedImages(images, lost)


def _side(entry: Entry, name: str) -> int:
    side = entry.number(name)
    if side != int(side) or side < 1:
        raise entry.refuse(name, "a number of pixels")
    return int(side)


def _box(entry: Entry) -> tuple[float, float, float, float] | None:
    """x, y, width and height; None where the box is empty."""
    numbers = entry.numbers("bbox")
    if not numbers or (len(numbers) == 4 and 0 in numbers[2:]):
        return None
    if len(numbers) != 4 or min(numbers[2:]) < 0:
        raise entry.refuse("bbox", "x, y, width and height in pixels")
    x, y, width, height = map(float, numbers)
    return x, y, width, height


def _instance(
    entry: Entry, number: int, category: str, box: tuple[float, float, float, float]
) -> Instance:
    return Instance(
        id=entry.id("id") if entry.has("id") else number,
        category=category,
        box=box,
        area=float(entry.number("area", box[2] * box[3])),
        crowd=entry.flag("iscrowd", default=False),
        segmentation=segmentation(entry),
    )


def segmentation(entry: Entry) -> Sequence[Sequence[float]] | Mapping[str, Any]:
    """Polygons of at least three corners, or run lengths; empty where there is neither.

    Raises:
      ValueError: something else; the entry and the field are named.
    """
    value = entry.fields.get("segmentation")
    if not value:
        return ()
    if isinstance(value, Mapping):
        runs = Entry(f"the segmentation of {entry.where}", value, entry.source)
        if not (_is_whole(value.get("size"), 1) and len(value["size"]) == 2):
            raise runs.refuse("size", "height and width in pixels")
        if not (isinstance(value.get("counts"), str) or _is_whole(value.get("counts"), 0)):
            raise runs.refuse("counts", "lengths of runs")
        return value
    if not isinstance(value, list) or not all(map(_is_polygon, value)):
        raise entry.refuse("segmentation", "polygons [[x1, y1, x2, y2, x3, y3, …], …], or runs")
    return value


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, list) and all(type(each) is int and each >= least for each in value)


def _is_polygon(value: Any) -> bool:
    numbers = isinstance(value, list) and all(
        isinstance(each, int | float) and math.isfinite(each) for each in value
    )
    return numbers and len(value) >= 6 and len(value) % 2 == 0


def decode_run_lengths(encoded: Mapping[str, Any]) -> Bool[np.ndarray, "H W"]:
    """Mask of `{"size": [H, W], "counts": …}`: runs down the columns, the first one of zeros.

    `counts` is a list, or COCO's compressed string: six bits a character, of which five carry the
    value, least significant first, and one says that more follow; from the fourth value on, the
    difference to the value two places back. pycocotools leaves pixels after the last run
    uninitialised; here runs that do not fill the mask are an error.
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
