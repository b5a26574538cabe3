"""Karpathy's JSON files: `dataset_flickr8k.json`, `dataset_flickr30k.json`, `dataset_coco.json`."""

from pathlib import Path
from typing import Any

from capjax.data.captions.records import CaptionSet
from capjax.data.formats.fields import Entry
from capjax.data.formats.gathering import Gathering

FORMAT = "Karpathy JSON"
_SOURCE = (
    "Karpathy's JSON has images with filename, split and sentences, which have raw text or tokens"
)


def matches(body: Any) -> bool:
    """Whether parsed JSON looks like this format."""
    images = body.get("images") if isinstance(body, dict) else None
    if not isinstance(images, list):
        return False
    return any(isinstance(each, dict) and "sentences" in each for each in images)


def parse(body: dict[str, Any], images: Path, gathering: Gathering) -> CaptionSet:
    """Records of every split, or of none where no image states one.

    `filepath` (COCO's `train2014`, `val2014`) is kept where `images` has such a folder, and
    dropped where all photographs lie in one folder. Captions are the `raw` sentences.

    Raises:
      ValueError: a field that is missing or of another kind; the image is named.
    """
    entries = Entry("", body, _SOURCE).entries("images", "image")
    has_splits = any("split" in each.fields for each in entries)
    folders: dict[str, bool] = {}
    for number, entry in enumerate(entries):
        name = entry.text("filename")
        folder = entry.text("filepath", "")
        if folder and folder not in folders:
            folders[folder] = (images / folder).is_dir()
        numbered = next((field for field in ("cocoid", "imgid") if entry.has(field)), None)
        gathering.add(
            f"{folder}/{name}" if folders.get(folder) else name,
            [_sentence(each) for each in entry.entries("sentences", "sentence")],
            where=entry.where,
            split=entry.text("split") if has_splits else None,
            image_id=number if numbered is None else entry.id(numbered),
        )
    return gathering.finish(FORMAT)


def _sentence(entry: Entry) -> str:
    return entry.caption("raw") if "raw" in entry.fields else " ".join(entry.texts("tokens"))
