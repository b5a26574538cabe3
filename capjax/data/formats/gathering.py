"""Captions gathered by image, whatever file they stand in, and the files of their images."""

import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

from capjax.data.captions.records import (
    LISTED,
    CaptionSet,
    Record,
    clean,
    is_clip_name,
    is_foreign_name,
    is_image_name,
)
from capjax.data.captions.splits import UNSPLIT, split_name
from capjax.runtime.files import listed
from capjax.runtime.folders import walk

_NUMBER = re.compile(r"#\d+$")
"""Of a caption, behind its image's name: `1.jpg#0`."""


class Gathering:
    """The captions of each image in order of first appearance, and what had to be left out."""

    def __init__(self, images: Path, *, search: bool = False) -> None:
        """Args:
        images: folder that names start from.
        search: whether to look below it for what is not where its name says.
        """
        self.rejected: list[str] = []
        self.notes: list[str] = []
        self._images, self._search = images, search
        self._captions: dict[str, list[str]] = {}
        self._splits: dict[str, str] = {}
        self._ids: dict[str, int | str] = {}
        self._where: dict[str, str] = {}
        self._empty: list[tuple[str, str]] = []

    def add(
        self,
        name: str,
        captions: Iterable[str],
        *,
        where: str,
        split: str | None = None,
        image_id: int | str | None = None,
    ) -> None:
        """Adds captions of an image or clip.

        Args:
          name: path below the folder of images, or absolute, as the file states it.
          captions: as they stand there; empty ones are counted.
          where: what to call the place in an error, such as "line 3".
          split: that the file states; None where it has none.
          image_id: of the file; None: the place of the image in it.

        Raises:
          ValueError: an image in two splits.
        """
        key = self._key(name)
        if not key or "://" in key:
            kind = "is an address: fetch the picture" if key else "names no image"
            self.rejected.append(f"{where}: {name!r} {kind}")
            return
        cleaned = list(map(clean, captions))
        kept = list(filter(None, cleaned))
        self._empty += [(key, where)] * (len(cleaned) - len(kept))
        self._captions.setdefault(key, []).extend(kept)
        self._where.setdefault(key, where)
        if image_id is not None:
            self._ids.setdefault(key, image_id)
        own = split_name(split or "") or UNSPLIT  # an empty cell states none
        if self._splits.get(key, UNSPLIT) == UNSPLIT:
            self._splits[key] = own
        elif own not in (UNSPLIT, self._splits[key]):
            raise ValueError(
                f"{where}: {key} is in split {own!r} and in {self._splits[key]!r}; an image "
                "belongs to one split"
            )

    def finish(
        self, format: str, *, of_split: Callable[[str], str | None] | None = None
    ) -> CaptionSet:
        """The records, in order.

        Args:
          format: name of the format.
          of_split: split by name, from elsewhere; None for an image that is left out.

        Raises:
          ValueError: two names of one file, or splits that are stated for some images alone.
        """
        files = self._located()
        records, bare = [], []
        for place, (key, captions) in enumerate(self._captions.items()):
            if key not in files:
                kind = "a picture of a kind that is not read; convert it"
                kind = kind if is_foreign_name(key) else "not the name of an image"
                self.rejected.append(f"{self._where[key]}: {key} is {kind}")
                continue
            split = self._splits[key] if of_split is None else of_split(key)
            if split is None:
                continue
            if not captions:
                bare.append(f"{key} has no caption")
                continue
            number = self._ids.get(key, place)
            records.append(Record(key, files[key], tuple(captions), split, number))
        self._refuse_half_split(records)
        beside = [(key, where) for key, where in self._empty if self._captions[key]]
        if beside:
            key, where = beside[0]
            self.rejected.append(
                f"{len(beside)} empty captions of images that have others, first {where} ({key})"
            )
        return CaptionSet(tuple(records), format, tuple(self.rejected + bare), tuple(self.notes))

    def _refuse_half_split(self, records: list[Record]) -> None:
        """Raises ValueError where some images state a split: the others would be in none."""
        without = [record.key for record in records if record.split == UNSPLIT]
        if without and len(without) < len(records):
            raise ValueError(
                f"{self._where[without[0]]}: {without[0]} states no split, as {len(without)} of "
                f"{len(records)} images; write one for each image, or for none"
            )

    def _key(self, name: str) -> str:
        """The path that identifies an image: relative where it lies below the folder, with `/`."""
        name = name.strip().removeprefix("file://")
        if "\\" in name and not (self._images / name).is_file():
            name = name.replace("\\", "/")
        if not name or "://" in name:
            return name
        bare = _NUMBER.sub("", name)
        key = posixpath.normpath(bare if is_image_name(bare) else name)
        if posixpath.isabs(key):
            base = os.path.abspath(self._images)
            return posixpath.relpath(key, base) if key.startswith(f"{base}/") else key
        return key

    def _located(self) -> dict[str, Path]:
        """The file of each name. One that is not where it should be is looked for by name.

        A name without the ending of an image or clip, or a file in a sub-folder that the name
        leaves out, is found where only one file can be meant.
        """
        files: dict[str, Path] = {}
        index: _Index | None = None
        found_elsewhere = []
        for key in self._captions:
            path = self._images / key
            named = is_image_name(key) or is_clip_name(key)
            if named and os.path.isfile(path):
                files[key] = path
                continue
            index = _Index(self._images if self._search else None) if index is None else index
            other = index.find(key)
            if other is not None:
                files[key] = self._images / other
                found_elsewhere.append(f"{key} as {other}")
            elif named:
                files[key] = path
        if found_elsewhere:
            self.notes.append(
                f"{len(found_elsewhere)} images lie elsewhere than their names say, or are named "
                f"otherwise: {listed(found_elsewhere, most=2, between='; ')}"
            )
        _refuse_two_names(files)
        return files


class _Index:
    """Files of a folder by path, by name, and by name without ending, letter case aside."""

    def __init__(self, folder: Path | None) -> None:
        self._found: dict[str, list[str]] = {}
        for path in walk(folder) if folder is not None and folder.is_dir() else ():
            if not (is_image_name(path) or is_clip_name(path)):
                continue
            name = path.rpartition("/")[2]
            known = {path, name, name.rpartition(".")[0], path.rpartition(".")[0]}
            for form in {_plain(each) for each in known}:
                self._found.setdefault(form, []).append(path)

    def find(self, key: str) -> str | None:
        for form in (key, key.rpartition("/")[2]):
            near = self._found.get(_plain(form), ())
            if len(near) == 1:
                return near[0]
        return None


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _refuse_two_names(files: dict[str, Path]) -> None:
    names: dict[Path, str] = {}
    twice = []
    for key, path in files.items():
        if names.setdefault(path, key) != key:
            twice.append(f"{names[path]} and {key}")
    if twice:
        raise ValueError(
            f"{len(twice)} images have two names: "
            f"{listed(twice, most=LISTED, between='; ')}; call each image by one name"
        )
