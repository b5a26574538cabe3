"""Flickr8k and Flickr30k token files: `name.jpg#k<TAB>caption`, with one split list a split."""

import re
from collections.abc import Mapping
from pathlib import Path

from capjax.data.records import CaptionSet, hashed_split, is_image_name, make_record

FORMAT = "Flickr token file"
_LINE = re.compile(r"(?P<name>[^\t#]+)#(?P<index>\d+)\t(?P<caption>.*)")
_LIST = re.compile(r"(?:.*\.)?(?P<split>train|dev|val|test)(?:Images)?\.txt")


def matches(first_line: str) -> bool:
    """Whether a file's first line looks like this format."""
    return _LINE.fullmatch(first_line) is not None


def find_lists(folder: Path) -> dict[str, Path]:
    """Split lists in a folder: `Flickr_8k.trainImages.txt`, `…devImages.txt`, or `train.txt` …"""
    found = {}
    for path in sorted(folder.glob("*.txt")):
        match = _LIST.fullmatch(path.name)
        if match:
            found["val" if match["split"] == "dev" else match["split"]] = path
    return found


def read_lists(lists: Mapping[str, Path]) -> dict[str, str]:
    """Split of each listed name, without its suffix: lists name files with or without one."""
    split_of: dict[str, str] = {}
    for split, path in lists.items():
        for name in Path(path).read_text(encoding="utf-8-sig").split():
            stem = _stem(name)
            if split_of.setdefault(stem, split) != split:
                raise ValueError(
                    f"{path} lists {name} in split {split!r}, but it is also in "
                    f"{split_of[stem]!r}; an image belongs to one split"
                )
    return split_of


def parse(text: str, images: Path, *, lists: Mapping[str, Path] | None) -> CaptionSet:
    """Records of the images with captions.

    With split lists, an image in no list is left out (91 images of Flickr8k: some copies add
    them to the test split, which changes its scores). Without lists, splits are drawn by
    `hashed_split`. Lines whose name is no image's, such as Flickr8k's
    `2258277193_586949ec62.jpg.1`, are rejected and reported.
    """
    captions: dict[str, list[str]] = {}
    rejected = []
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip("\r")
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            rejected.append(f"line {number}: expected name#number<TAB>caption, got {line[:60]!r}")
        elif not is_image_name(match["name"]):
            rejected.append(f"line {number}: {match['name']} is not the name of an image")
        else:
            captions.setdefault(match["name"], []).append(match["caption"])
    split_of = read_lists(lists) if lists else None
    records = []
    unlisted = []
    for image_id, (name, sentences) in enumerate(captions.items()):
        split = hashed_split(name) if split_of is None else split_of.pop(_stem(name), None)
        if split is None:
            unlisted.append(name)
            continue
        record = make_record(name, sentences, images=images, split=split, image_id=image_id)
        if record.captions:
            records.append(record)
        else:
            rejected.append(f"{name} has no caption")
    if unlisted:
        rejected.append(f"{len(unlisted)} images are in no split list, e.g. {unlisted[0]}")
    if split_of:
        rejected.append(
            f"{len(split_of)} names in the split lists have no caption, e.g. {next(iter(split_of))}"
        )
    return CaptionSet(tuple(records), FORMAT, tuple(rejected))


def _stem(name: str) -> str:
    return name.rsplit(".", 1)[0] if is_image_name(name) else name
