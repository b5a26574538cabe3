"""Flickr8k and Flickr30k token files: `name.jpg#k<TAB>caption`, with one split list a split."""

import re
from collections.abc import Mapping
from pathlib import Path

from capjax.data.captions.records import CaptionSet, is_image_name
from capjax.data.formats.encoded import decode_text
from capjax.data.formats.gathering import Gathering

FORMAT = "Flickr token file"
_LINE = re.compile(r"(?P<name>[^\t#]+)#(?P<index>\d+)(?:\t|[ \t]+)(?P<caption>.*)")
_LIST = re.compile(r"(?:.*\.)?(?P<split>train|dev|val|test)(?:Images)?\.txt")
_LOOKED_AT = 100


def matches(text: str) -> bool:
    """Whether most of a text's first lines look like this format."""
    lines = [line for line in text[: 1000 * _LOOKED_AT].split("\n") if line.strip()][:_LOOKED_AT]
    return 2 * sum(_LINE.fullmatch(line) is not None for line in lines) > len(lines)


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
        for line in decode_text(Path(path).read_bytes()).split("\n"):
            name = line.strip()
            stem = _stem(name)
            if name and split_of.setdefault(stem, split) != split:
                raise ValueError(
                    f"{path} lists {name} in split {split!r}, but it is also in "
                    f"{split_of[stem]!r}; an image belongs to one split"
                )
    return split_of


def parse(text: str, gathering: Gathering, *, lists: Mapping[str, Path] | None) -> CaptionSet:
    """Records of the images with captions.

    With split lists, an image in no list is left out (91 images of Flickr8k: some copies add
    them to the test split, which changes its scores). Without lists there are no splits. Lines
    whose name is no image's, such as Flickr8k's `2258277193_586949ec62.jpg.1`, are rejected and
    reported.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            gathering.rejected.append(
                f"line {number}: expected name#number<TAB>caption, got {line[:60]!r}"
            )
        else:
            gathering.add(match["name"], [match["caption"]], where=f"line {number}")
    if not lists:
        return gathering.finish(FORMAT)
    split_of = read_lists(lists)
    unlisted: list[str] = []

    def listed_split(name: str) -> str | None:
        split = split_of.pop(_stem(name), None)
        if split is None:
            unlisted.append(name)
        return split

    found = gathering.finish(FORMAT, of_split=listed_split)
    rejected = list(found.rejected)
    if unlisted:
        rejected.append(f"{len(unlisted)} images are in no split list, e.g. {unlisted[0]}")
    if split_of:
        rejected.append(
            f"{len(split_of)} names in the split lists have no caption, e.g. {next(iter(split_of))}"
        )
    return CaptionSet(found.records, FORMAT, tuple(rejected), found.notes)


def _stem(name: str) -> str:
    return name.rsplit(".", 1)[0] if is_image_name(name) else name
