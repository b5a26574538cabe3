"""COCO captions JSON: `captions_train2014.json` and files made like it."""

import re
from pathlib import Path
from typing import Any

from capjax.data.records import CaptionSet, make_record

FORMAT = "COCO captions JSON"


def matches(body: Any) -> bool:
    """Whether parsed JSON looks like this format."""
    return isinstance(body, dict) and "images" in body and "annotations" in body


def split_of(file_name: str) -> str:
    """The split a file's name speaks of, such as val in `captions_val2014.json`; else "all"."""
    found = re.findall(r"(?<![a-z])(train|val|test)(?![a-z])", file_name.lower())
    return found[-1] if found else "all"


def parse(body: dict[str, Any], images: Path, *, split: str) -> CaptionSet:
    """Records of the images that have captions, all in `split`: the file itself holds no splits."""
    captions: dict[int, list[str]] = {}
    try:
        for annotation in body["annotations"]:
            captions.setdefault(annotation["image_id"], []).append(annotation["caption"])
        names = {entry["id"]: entry["file_name"] for entry in body["images"]}
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"an entry of this {FORMAT} lacks {error}; expected images with id and file_name, and "
            "annotations with image_id and caption (an instances file holds boxes: use the "
            "captions file beside it)"
        ) from error
    strangers = sorted(set(captions) - set(names))
    if strangers:
        raise ValueError(
            f"captions of {len(strangers)} images that the file does not list, e.g. image_id "
            f"{strangers[0]}; fetch the file again"
        )
    records = [
        make_record(name, captions.get(index, ()), images=images, split=split, image_id=int(index))
        for index, name in names.items()
    ]
    rejected = tuple(f"{record.key} has no caption" for record in records if not record.captions)
    return CaptionSet(tuple(r for r in records if r.captions), FORMAT, rejected)
