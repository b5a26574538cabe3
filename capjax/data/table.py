"""Caption tables: CSV with the header `image,caption`, such as the Flickr8k table on Kaggle."""

import csv
import io
from pathlib import Path

from capjax.data.records import CaptionSet, hashed_split, is_clip_name, is_image_name, make_record

FORMAT = "CSV table"


def matches(first_line: str) -> bool:
    """Whether a file's first line is such a header."""
    return {"image", "caption"} <= {name.strip() for name in first_line.split(",")}


def parse(text: str, images: Path) -> CaptionSet:
    """Records of the images or clips in the table, in order of first appearance.

    Columns are found by name: `image`, `caption`, and optionally `split`. Without a `split`
    column, images (not captions) are split by `hashed_split`. Quoting is CSV's, so captions may
    hold commas, quotes and line breaks.
    """
    rows = csv.reader(io.StringIO(text), skipinitialspace=True)
    header = [name.strip() for name in next(rows)]
    image, caption = header.index("image"), header.index("caption")
    split = header.index("split") if "split" in header else None
    captions: dict[str, list[str]] = {}
    split_of: dict[str, str] = {}
    rejected = []
    for row in rows:
        if not row:
            continue
        if len(row) != len(header):
            raise ValueError(
                f"line {rows.line_num}: expected {len(header)} columns ({', '.join(header)}), got "
                f"{len(row)}; put captions that hold a comma in double quotes"
            )
        name = row[image].strip()
        if not (is_image_name(name) or is_clip_name(name)):
            rejected.append(f"line {rows.line_num}: {name!r} is no name of an image or a clip")
            continue
        captions.setdefault(name, []).append(row[caption])
        own = hashed_split(name) if split is None else row[split].strip()
        if split_of.setdefault(name, own) != own:
            raise ValueError(
                f"line {rows.line_num}: {name} is in split {own!r} and in {split_of[name]!r}; an "
                "image belongs to one split"
            )
    records = [
        make_record(name, sentences, images=images, split=split_of[name], image_id=image_id)
        for image_id, (name, sentences) in enumerate(captions.items())
    ]
    rejected += [f"{record.key} has no caption" for record in records if not record.captions]
    return CaptionSet(tuple(r for r in records if r.captions), FORMAT, tuple(rejected))
