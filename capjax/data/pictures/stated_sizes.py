"""Whether boxes lie in the same picture as what is read: its size, and which way is up.

A box is of pixels of some picture. Photographs are read upright, as EXIF says; many tools draw
boxes on the pixels as they are stored. Copies of other sizes are fine, other shapes are not.
"""

import concurrent.futures
from collections.abc import Callable, Sequence
from typing import NamedTuple

from capjax.data.captions.records import LISTED, Record
from capjax.data.pictures.images import Layout, UnreadableFileError, layout_of
from capjax.data.pictures.opening import ImageFile
from capjax.ops.boxes import Box
from capjax.runtime.files import listed, printable

ROUNDING = 2
"""Pixels by which the shapes of resized copies may differ, and by which boxes may reach outside."""
READERS = 8
"""Threads that look at files' headers."""


class Stated(NamedTuple):
    """An image, the (height, width) of the picture that its boxes are in, and the boxes."""

    record: Record
    size: tuple[int, int]
    boxes: Sequence[Box]


def check_sizes(
    stated: Sequence[Stated],
    tell: Callable[[str], None],
    file: Callable[[Record], ImageFile] = lambda record: record.image,
) -> None:
    """Compares the pictures that boxes are in with those that are read, by the files' headers.

    Files that cannot be read are left to those who read them.

    Args:
      stated: of images, not of clips.
      tell: takes a sentence on images that EXIF turns without changing their shape, so that nothing
        tells which picture their boxes are in, and on boxes that reach outside.
      file: opens the image of a record.

    Raises:
      ValueError: images whose upright picture has another shape than the one with the boxes, or
        with boxes wholly outside of it; the text names them and says what to do.
    """
    problems: dict[str, list[str]] = {}
    doubts: dict[str, list[str]] = {}
    with concurrent.futures.ThreadPoolExecutor(READERS) as readers:
        layouts = readers.map(lambda each: _layout(each.record, file), stated)
        for each, layout in zip(stated, layouts, strict=True):
            if layout is None:
                continue
            name = printable(each.record.key)
            sizes = f"{name} ({_size(layout.upright)}, boxes in {_size(each.size)})"
            if not _alike(layout.upright, each.size):
                turned = _alike(layout.stored, each.size)
                problems.setdefault(TURNED if turned else OTHER, []).append(sizes)
            elif layout.turned and _alike(layout.upright, layout.stored):
                doubts.setdefault(AMBIGUOUS, []).append(name)
            places = {_place(box, each.size) for box in each.boxes}
            if "outside" in places:
                problems.setdefault(OUTSIDE, []).append(sizes)
            elif "edge" in places:
                doubts.setdefault(EDGE, []).append(name)
    for said, names in doubts.items():
        tell(f"{_counted(names)} {said}")
    if problems:
        found = "; ".join(f"{_counted(names)} {said}" for said, names in problems.items())
        raise ValueError(f"boxes and images do not belong together: {found}")


TURNED = (
    "turned upright by EXIF, while the boxes are of the pixels as stored: give boxes of the "
    "upright photographs, or take the orientation out of the files (exiftool -Orientation=)"
)
OTHER = "of another shape than the picture of the boxes: give the boxes of these images"
OUTSIDE = "with boxes that lie outside of it: give the boxes of these images, in their pixels"
AMBIGUOUS = (
    "turned upright by EXIF, and the sizes do not tell whether the boxes are: they are taken to be "
    "of the upright photographs"
)
EDGE = "with boxes that reach outside of the picture: what is inside counts"


def _layout(record: Record, file: Callable[[Record], ImageFile]) -> Layout | None:
    try:
        return layout_of(file(record))
    except (UnreadableFileError, OSError):
        return None


def _alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two (height, width) can be of copies of one picture."""
    scale = max(one) / max(other)
    return all(
        abs(a - b * scale) < ROUNDING * max(1.0, scale) for a, b in zip(one, other, strict=True)
    )


def _place(box: Box, size: tuple[int, int]) -> str:
    x0, y0, x1, y1 = box
    height, width = size
    if x1 < 0 or y1 < 0 or x0 >= width or y0 >= height:
        return "outside"
    least, most = min(x0, y0), max(x1 - width, y1 - height)
    return "edge" if least < -ROUNDING or most >= ROUNDING else "inside"


def _size(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _counted(names: Sequence[str]) -> str:
    kind = "image" if len(names) == 1 else "images"
    return f"{len(names)} {kind} ({listed(names, most=LISTED)})"
