"""COCO captions JSON: `captions_train2014.json` and files made like it."""

import re
from typing import Any

from capjax.data.captions.records import CaptionSet
from capjax.data.captions.splits import split_name
from capjax.data.formats.fields import Entry, Id, Ids, shown
from capjax.data.formats.gathering import Gathering

FORMAT = "COCO captions JSON"
_SOURCE = (
    "A COCO captions file has images with id and file_name, and annotations with image_id and "
    "caption (an instances file holds boxes: use the captions file beside it)"
)
_SPLIT = r"(?<![a-z])(train|training|val|valid|validation|dev|test|testing)(?![a-z])"


def matches(body: Any) -> bool:
    """Whether parsed JSON looks like this format."""
    return isinstance(body, dict) and "images" in body and "annotations" in body


def split_of(file_name: str) -> str | None:
    """The split a file's name speaks of, such as val in `captions_val2014.json`; else None."""
    found = re.findall(_SPLIT, file_name.lower())
    return split_name(found[-1]) if found else None


def captioned(body: dict[str, Any]) -> list[tuple[Entry, Entry]]:
    """Each annotation with its image, in the order of the file.

    Ids may be numbers or text, also of different kinds in the two lists.

    Raises:
      ValueError: a field that is missing or of another kind, an id of two images, or captions of
        images that are not listed; the entry is named.
    """
    file = Entry("", body, _SOURCE)
    images = Ids(
        ((each.id("id"), each) for each in file.entries("images", "image")),
        same=lambda one, other: one.text("file_name") == other.text("file_name"),
    )
    pairs = []
    strangers: dict[Id, None] = {}
    for entry in file.entries("annotations", "annotation"):
        id = entry.id("image_id")
        image = images.find(id)
        if image is None:
            strangers[id] = None
        else:
            pairs.append((entry, image))
    if strangers:
        raise ValueError(
            f"annotations of {len(strangers)} images that the file does not list, e.g. image_id "
            f"{shown(next(iter(strangers)))}; fetch the file again"
        )
    return pairs


def parse(body: dict[str, Any], gathering: Gathering, *, split: str | None) -> CaptionSet:
    """Records of the images that have captions, all in `split`: the file itself holds no splits.

    Raises:
      ValueError: as `captioned`, or one file name under two ids.
    """
    captions: dict[str, list[Entry]] = {}
    ids: dict[str, Id] = {}
    for image in Entry("", body, _SOURCE).entries("images", "image"):
        name, id = image.text("file_name"), image.id("id")
        captions[name] = []
        if ids.setdefault(name, id) != id:
            raise ValueError(
                f"{image.where}: {name!r} is described twice, under the ids {shown(ids[name])} and "
                f"{shown(id)}; merge their captions under one"
            )
    for annotation, image in captioned(body):
        captions[image.text("file_name")].append(annotation)
    for name, own in captions.items():
        where = f"image {shown(ids[name])}"
        gathering.add(name, (), where=where, split=split, image_id=ids[name])
        for entry in own:
            gathering.add(name, [entry.caption("caption")], where=entry.where, split=split)
    return gathering.finish(FORMAT)
