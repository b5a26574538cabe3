"""Groups of images, by the columns of a CSV file or by what a run stored beside them."""

import array
import csv
import dataclasses
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np

from capjax.folder.opened.image import ImageResult
from capjax.runtime.files import counted, listed, local_path

NAMES = ("file", "image", "file_name", "filename", "name", "path", "image_path")
"""Headings of the column that names images; where none is there, it is the first column."""
MOST_VALUES = 20
"""Different numbers of a column from which it is cut into quarters."""


@dataclasses.dataclass(frozen=True)
class Groups:
    """The groups of one column.

    Attributes:
      column: its heading.
      labels: of the groups.
      codes: of each image of the run, in its order, its place in `labels`; -1 of none.
    """

    column: str
    labels: tuple[str, ...]
    codes: Sequence[int]


def read_groups(
    path: str, by: Sequence[str], files: Sequence[str]
) -> tuple[list[Groups], list[str]]:
    """Groups of images by each of some columns, and sentences on images without any.

    Args:
      path: of a CSV file with headings; its rows name images as the run does, or by the last part
        of that name where no two images share it.
      by: columns.
      files: names of the images of a run, in its order.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no such table, lacks a column, contradicts itself, or names none of the
        images.
    """
    local = local_path(path, "--metadata")
    if not local.is_file():
        raise FileNotFoundError(f"--metadata={path} is not there; give a CSV file of the images")
    values = {column: [""] * len(files) for column in by}
    places, named = _places(files), np.zeros(len(files), bool)
    with open(local, encoding="utf-8-sig", newline="") as stream:
        rows = csv.reader(stream)
        headings = next(rows, [])
        lacking = [column for column in by if column not in headings]
        if lacking:
            raise ValueError(
                f"--metadata={path} has no column {lacking[0]!r}; it has: "
                f"{', '.join(map(repr, headings)) or 'none'}"
            )
        name = next((at for at, own in enumerate(headings) if own.lower() in NAMES), 0)
        wanted = {column: headings.index(column) for column in by}
        for line, row in enumerate(rows, start=2):
            if not row:
                continue
            if len(row) != len(headings):
                raise ValueError(
                    f"line {line} of --metadata={path} has {counted(len(row), 'cell')}, its first "
                    f"line {len(headings)}; expected as many in every line"
                )
            place = places.get(row[name])
            if place is None:
                continue
            for column, at in wanted.items():
                before, value = values[column][place], row[at].strip()
                if named[place] and before != value:
                    raise ValueError(
                        f"line {line} of --metadata={path} says that the {column} of "
                        f"{files[place]!r} is {value!r}; an earlier line says {before!r}"
                    )
                values[column][place] = value
            named[place] = True
    if not named.any():
        raise ValueError(
            f"--metadata={path} names none of the {len(files):,} images in its column "
            f"{headings[name]!r}; the first image of the run is {files[0]!r}"
        )
    notes = []
    if not named.all():
        absent = int((~named).sum())
        notes = [f"{absent:,} of {len(files):,} images are not in {path} and are in no group"]
    return [_groups(column, own) for column, own in values.items()], notes


class StoredColumns:
    """What a run stored beside each image, of some columns.

    Args:
      by: columns.
    """

    def __init__(self, by: Sequence[str]) -> None:
        self._values: dict[str, list[str]] = {column: [] for column in by}
        self._known: dict[str, None] = {}

    def watching(self, images: Iterable[ImageResult]) -> Iterator[ImageResult]:
        """Passes images on, whose columns are noted."""
        for image in images:
            metadata = image.record.metadata
            self._known.update(dict.fromkeys(metadata))
            for column, own in self._values.items():
                value = metadata.get(column)
                own.append("" if value is None else sys.intern(str(value).strip()))
            yield image

    def groups(self) -> tuple[list[Groups], list[str]]:
        """As `read_groups`, once all images have passed.

        Raises:
          ValueError: no image has one of the columns.
        """
        lacking = [column for column, own in self._values.items() if not any(own)]
        if lacking:
            there = (
                f"they have: {listed(list(map(repr, self._known)))}"
                if self._known
                else ("they have none: give a CSV file with --metadata")
            )
            raise ValueError(f"no image of the run has the metadata {lacking[0]!r}; {there}")
        absent = max((own.count("") for own in self._values.values()), default=0)
        notes = [f"{absent:,} images lack such metadata and are in no group"] if absent else []
        return [_groups(column, own) for column, own in self._values.items()], notes


def _places(files: Sequence[str]) -> Mapping[str, int]:
    """Name, or last part of a name that no two images share -> place of the image."""
    last: dict[str, int] = {}
    for place, file in enumerate(files):
        name = PurePosixPath(file).name
        last[name] = -1 if name in last else place
    found = {name: place for name, place in last.items() if place >= 0}
    return found | {file: place for place, file in enumerate(files)}


def _groups(column: str, values: Sequence[str]) -> Groups:
    """A group a value, or a quarter of the numbers where there are many; none of empty cells."""
    known = sorted({value for value in values if value})
    numbers = list(map(_number, known))
    if len(known) <= MOST_VALUES or any(number is None for number in numbers):
        places = {value: place for place, value in enumerate(known)}
        codes = array.array("i", (places.get(value, -1) for value in values))
        return Groups(column, tuple(known), codes)
    every = np.array([math.nan if (own := _number(value)) is None else own for value in values])
    edges = np.unique(np.nanquantile(every, (0, 0.25, 0.5, 0.75, 1)))
    inner = edges[1:-1]
    which = np.where(np.isnan(every), -1, np.searchsorted(inner, every, side="right"))
    labels = tuple(f"{low:g} to {high:g}" for low, high in zip(edges[:-1], edges[1:], strict=True))
    return Groups(column, labels, array.array("i", which.tolist()))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
