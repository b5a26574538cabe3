"""Reads captions in every common format, recognised by parsing, and plain folders of files."""

import dataclasses
import glob
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capjax.data.captions.merging import merged
from capjax.data.captions.records import (
    CaptionFile,
    CaptionSet,
    Record,
    is_clip_name,
    is_foreign_name,
    is_image_name,
    require_images,
)
from capjax.data.captions.splits import UNSPLIT
from capjax.data.formats import (
    caption_table,
    coco,
    entries,
    flickr,
    karpathy,
    listing,
    msrvtt,
    msvd,
)
from capjax.data.formats.encoded import decode_text
from capjax.data.formats.fields import load_json
from capjax.data.formats.gathering import Gathering
from capjax.runtime.files import listed, written_out
from capjax.runtime.folders import walk

__all__ = ["CaptionSet", "Record", "caption_files", "read_captions", "read_folder"]

FORMATS = (
    karpathy.FORMAT,
    coco.FORMAT,
    *entries.FORMATS,
    caption_table.FORMAT,
    flickr.FORMAT,
    listing.FORMAT,
    msrvtt.FORMAT,
    f"{msvd.FORMAT} (header {','.join(msvd.HEADER)})",
)


def read_captions(
    path: str | Path | Sequence[str | Path],
    images: str | Path | None = None,
    *,
    split: str | None = None,
    split_lists: Mapping[str, Path] | None = None,
    check_images: bool = True,
) -> CaptionSet:
    """The records of a caption file, whatever its format, or of several files together.

    Args:
      path: Karpathy's JSON, COCO captions JSON, JSON Lines or lists, tables, a Flickr token file,
        or the files of MSR-VTT and MSVD (whose `youtube_mapping.txt` is looked for beside it);
        several as a sequence, or in one text with commas or a pattern (see `caption_files`).
      images: folder that its file names start from; default: `images` or `clips` beside the file
        or beside its folder, else the file's folder.
      split: only this split; None or "all" for every one. All images of a COCO file are in the
        split that its name speaks of. Where nothing states a split, all are in `UNSPLIT`.
      split_lists: split → file of image names, for token files; default: those beside the file.
      check_images: whether image files that are missing are an error.

    Raises:
      FileNotFoundError: no such file, or image files missing (the first ten are listed).
      ValueError: not one of the formats, a damaged file, or a split that it does not hold.
    """
    paths = caption_files(path)
    found = merged(
        [_read(each, images, split_lists=split_lists) for each in paths], [str(p) for p in paths]
    )
    if split not in (None, UNSPLIT):
        try:
            found = found.select(split)
        except ValueError as error:
            raise ValueError(f"{', '.join(map(str, paths))}: {error}") from error
    if check_images:
        require_images(found)
    return found


def caption_files(given: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files that a text names: one, several with commas between, or those that fit a pattern.

    In braces a comma separates choices. Where a file has the very name that is given, commas and
    patterns in it mean nothing.

    Raises:
      FileNotFoundError: something named that is not there.
    """
    if not isinstance(given, str | Path):
        return list(dict.fromkeys(path for each in given for path in caption_files(each)))
    if os.path.isfile(given):
        return [Path(given)]
    found: list[Path] = []
    for name in written_out(str(given)) or [""]:
        matching = sorted(glob.glob(name, recursive=True))
        files = [name] if os.path.isfile(name) else list(filter(os.path.isfile, matching))
        if not files:
            raise FileNotFoundError(
                f"no caption file at {name or given!r}; expected one of: {_formats()}"
            )
        found += map(Path, files)
    return list(dict.fromkeys(found))


def read_folder(folder: str | Path) -> CaptionSet:
    """The images and clips below a folder, sorted by path, uncaptioned and in split "all".

    Files are chosen by suffix, as by `explain.py`; see `capjax.runtime.folders` for links.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder at {folder}; pass a folder of images or clips")
    rejected: list[str] = []
    keys = [
        key
        for key in walk(folder, tell=rejected.append)
        if is_image_name(key) or is_clip_name(key) or is_foreign_name(key)
    ]
    records = tuple(
        Record(key=key, image=folder / key, captions=(), split=UNSPLIT, image_id=number)
        for number, key in enumerate(sorted(keys))
    )
    return CaptionSet(records, "folder", tuple(rejected))


def _read(
    path: Path, images: str | Path | None, *, split_lists: Mapping[str, Path] | None
) -> CaptionSet:
    content = path.read_bytes()
    beside = _image_folder(path)
    folder = Path(images) if images is not None else beside or path.parent
    gathering = Gathering(folder, search=images is not None or beside is not None)
    try:
        text = decode_text(content)
        found = _parse(text, path, folder, gathering, split_lists=split_lists)
        if not found:
            left_out = "; ".join(found.remarks) or "it holds none"
            raise ValueError(f"no image with a caption in this {found.format}: {left_out}")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    file = CaptionFile(path.name, hashlib.sha256(content).hexdigest(), found.format)
    return dataclasses.replace(found, files=(file,))


def _parse(
    text: str,
    path: Path,
    images: Path,
    gathering: Gathering,
    *,
    split_lists: Mapping[str, Path] | None,
) -> CaptionSet:
    if text.lstrip()[:1] in ("{", "["):
        return _parse_json(text, path, images, gathering)
    if flickr.matches(text):
        lists = flickr.find_lists(path.parent) if split_lists is None else split_lists
        return flickr.parse(text, gathering, lists=lists)
    separator = msvd.find_separator(text)
    if separator is not None:
        mapping = msvd.find_mapping(path.parent)
        return msvd.parse(text, separator, images, mapping=mapping)
    columns = caption_table.find_separator(text)
    if columns is not None:
        return caption_table.parse(text, *columns, gathering)
    if listing.matches(text):
        return listing.parse(text, gathering)
    if msvd.is_list(text):
        return msvd.parse_list(text, images, mapping=msvd.find_mapping(path.parent))
    start = text.lstrip().partition("\n")[0].rstrip()
    kind = caption_table.describe(text) or (
        f"a file that starts with {start[:60]!r}" if start else "an empty file"
    )
    raise ValueError(f"got {kind}; expected one of: {_formats()}")


def _parse_json(text: str, path: Path, images: Path, gathering: Gathering) -> CaptionSet:
    lines = entries.read_lines(text)
    if lines is not None:
        columns = entries.columns_of(lines)
        if columns is None:
            raise ValueError(_unknown(f"JSON Lines with {_describe(lines[0].fields)}"))
        return entries.parse(lines, columns, gathering, format=entries.LINES)
    body = load_json(text)
    if karpathy.matches(body):
        return karpathy.parse(body, images, gathering)
    if coco.matches(body):
        return coco.parse(body, gathering, split=coco.split_of(path.stem))
    if msrvtt.matches(body):
        return msrvtt.parse(body, images)
    if entries.names_captions(body):
        return entries.parse_names(body, gathering)
    found = entries.find_entries(body)
    columns = entries.columns_of(found) if found else None
    if not found or columns is None or _are_results(found):
        raise ValueError(_unknown(f"JSON with {_describe(body)}"))
    return entries.parse(found, columns, gathering, format=entries.LIST)


def _are_results(found: Sequence[entries.Entry]) -> bool:
    """Whether these are a captioner's results in COCO's format: numbers of images, no names."""
    return all(
        set(each.fields) <= {"image_id", "caption", "id"}
        and not isinstance(each.fields.get("image_id"), str)
        for each in found
    )


def _unknown(kind: str) -> str:
    return f"got {kind}; expected one of: {_formats()}"


def _describe(body: Any) -> str:
    if isinstance(body, Mapping):
        return f"the fields {listed([*map(repr, body)]) or 'of an empty object'}"
    first = body[0] if body else None
    if isinstance(first, dict) and {"image_id", "caption"} <= set(first):
        return "a list of results (image_id, caption), which holds no references"
    return f"a list of {len(body)} entries"


def _formats() -> str:
    return "; ".join(FORMATS)


def _image_folder(path: Path) -> Path | None:
    for name in ("images", "clips"):
        for folder in (path.parent / name, path.parent.parent / name):
            if folder.is_dir():
                return folder
    return None
