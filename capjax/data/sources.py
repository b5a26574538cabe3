"""Reads captions in every common format, recognised by content, and plain folders of files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capjax.data import coco, flickr, karpathy, msrvtt, msvd, table
from capjax.data.folders import walk
from capjax.data.records import (
    CaptionSet,
    Record,
    is_clip_name,
    is_foreign_name,
    is_image_name,
    require_images,
)

__all__ = ["CaptionSet", "Record", "read_captions", "read_folder"]

FORMATS = (
    karpathy.FORMAT,
    coco.FORMAT,
    flickr.FORMAT,
    f"{table.FORMAT} (header image,caption)",
    msrvtt.FORMAT,
    f"{msvd.FORMAT} (header {','.join(msvd.HEADER)})",
)


def read_captions(
    path: str | Path,
    images: str | Path | None = None,
    *,
    split: str | None = None,
    split_lists: Mapping[str, Path] | None = None,
    check_images: bool = True,
) -> CaptionSet:
    """The records of a caption file, whatever its format.

    Args:
      path: Karpathy's JSON, COCO captions JSON, a Flickr token file, a CSV table, or the files of
        MSR-VTT and MSVD (whose `youtube_mapping.txt` is looked for beside it).
      images: folder that its file names start from; default: `images` or `clips` beside the file
        or beside its folder, else the file's folder.
      split: only this split; None or "all" for every one. A COCO file holds no splits: its images
        are in the split named here, else in the one its name speaks of.
      split_lists: split → file of image names, for token files; default: those beside the file.
      check_images: whether image files that are missing are an error.

    Raises:
      FileNotFoundError: no such file, or image files missing (the first ten are listed).
      ValueError: not one of the formats, a damaged file, or a split that it does not hold.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no caption file at {path}; expected one of: {_formats()}")
    folder = _image_folder(path) if images is None else Path(images)
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    wanted = None if split == "all" else split
    try:
        found = _parse(text, path, folder, split=wanted, split_lists=split_lists)
        found = found if wanted is None else found.select(wanted)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if check_images:
        require_images(found)
    return found


def read_folder(folder: str | Path) -> CaptionSet:
    """The images and clips below a folder, sorted by path, uncaptioned and in split "all".

    Files are chosen by suffix, as by `explain.py`; see `capjax.data.folders` for links.
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
        Record(key=key, image=folder / key, captions=(), split="all", image_id=number)
        for number, key in enumerate(sorted(keys))
    )
    return CaptionSet(records, "folder", tuple(rejected))


def _parse(
    text: str,
    path: Path,
    images: Path,
    *,
    split: str | None,
    split_lists: Mapping[str, Path] | None,
) -> CaptionSet:
    first_line = text.lstrip().partition("\n")[0].rstrip()
    if first_line[:1] in ("{", "["):
        body = _load_json(text)
        if karpathy.matches(body):
            return karpathy.parse(body, images)
        if coco.matches(body):
            return coco.parse(body, images, split=split or coco.split_of(path.stem))
        if msrvtt.matches(body):
            return msrvtt.parse(body, images)
        kind = f"JSON with {_describe(body)}"
    elif flickr.matches(first_line):
        lists = flickr.find_lists(path.parent) if split_lists is None else split_lists
        return flickr.parse(text, images, lists=lists)
    elif msvd.matches(first_line):
        return msvd.parse(text.lstrip(), images, mapping=msvd.find_mapping(path.parent))
    elif table.matches(first_line):
        return table.parse(text.lstrip(), images)
    else:
        kind = f"a file that starts with {first_line[:60]!r}" if first_line else "an empty file"
    raise ValueError(f"got {kind}; expected one of: {_formats()}")


def _load_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"damaged JSON ({error}); fetch the file again") from error


def _describe(body: Any) -> str:
    if isinstance(body, dict):
        return f"the fields {', '.join(map(repr, list(body)[:6]))}"
    first = body[0] if body else None
    if isinstance(first, dict) and {"image_id", "caption"} <= set(first):
        return "a list of results (image_id, caption), which holds no references"
    return f"a list of {len(body)} entries"


def _formats() -> str:
    return ", ".join(FORMATS)


def _image_folder(path: Path) -> Path:
    for name in ("images", "clips"):
        for folder in (path.parent / name, path.parent.parent / name):
            if folder.is_dir():
                return folder
    return path.parent
