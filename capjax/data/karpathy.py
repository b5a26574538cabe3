"""Karpathy's JSON files: `dataset_flickr8k.json`, `dataset_flickr30k.json`, `dataset_coco.json`."""

from pathlib import Path
from typing import Any

from capjax.data.records import CaptionSet, Record, make_record

FORMAT = "Karpathy JSON"


def matches(body: Any) -> bool:
    """Whether parsed JSON looks like this format."""
    images = body.get("images") if isinstance(body, dict) else None
    if not isinstance(images, list) or not images:
        return False
    return isinstance(images[0], dict) and "sentences" in images[0]


def parse(body: dict[str, Any], images: Path) -> CaptionSet:
    """Records of every split; COCO's `restval` images are counted as `train`, as is usual.

    `filepath` (COCO's `train2014`, `val2014`) is kept where `images` has such a folder, and
    dropped where all photographs lie in one folder. Captions are the `raw` sentences.
    """
    folders: dict[str, bool] = {}
    records: list[Record] = []
    rejected = []
    for number, entry in enumerate(body["images"]):
        try:
            name, folder = entry["filename"], entry.get("filepath", "")
            sentences, split = entry["sentences"], entry["split"]
            captions = [s["raw"] if "raw" in s else " ".join(s["tokens"]) for s in sentences]
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"image {number} of this {FORMAT} lacks {error}; expected filename, split and "
                "sentences with raw text; fetch the file again"
            ) from error
        if folder and folder not in folders:
            folders[folder] = (images / folder).is_dir()
        record = make_record(
            f"{folder}/{name}" if folders.get(folder) else name,
            captions,
            images=images,
            split="train" if split == "restval" else split,
            image_id=int(entry.get("cocoid", entry.get("imgid", number))),
        )
        if record.captions:
            records.append(record)
        else:
            rejected.append(f"{record.key} has no caption")
    return CaptionSet(tuple(records), FORMAT, tuple(rejected))
