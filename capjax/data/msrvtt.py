"""MSR-VTT: `train_val_videodatainfo.json`, `test_videodatainfo.json` and files made like them."""

from pathlib import Path
from typing import Any

from capjax.data.records import CaptionSet, Record, clean, clip_files

FORMAT = "MSR-VTT JSON"
SPLITS = {"validate": "val"}
"""Its names of splits that differ from ours; "train" and "test" do not."""


def matches(body: Any) -> bool:
    """Whether parsed JSON looks like this format."""
    return isinstance(body, dict) and "videos" in body and "sentences" in body


def parse(body: dict[str, Any], clips: Path) -> CaptionSet:
    """Records of the clips with sentences, which stay as they are: repeated and misspelt ones too.

    A clip's key is its `video_id`, its file that name with any suffix of a clip.

    Raises:
      ValueError: an entry lacks a field, or a sentence speaks of a clip that is not listed.
    """
    captions: dict[str, list[str]] = {}
    try:
        for sentence in body["sentences"]:
            captions.setdefault(sentence["video_id"], []).append(clean(sentence["caption"]))
        videos = {entry["video_id"]: (entry["split"], entry) for entry in body["videos"]}
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"an entry of this {FORMAT} lacks {error}; expected videos with video_id and split, "
            "and sentences with video_id and caption; fetch the file again"
        ) from error
    strangers = sorted(set(captions) - set(videos))
    if strangers:
        raise ValueError(
            f"sentences of {len(strangers)} videos that the file does not list, e.g. "
            f"{strangers[0]}; fetch the file again"
        )
    files = clip_files(clips)
    records = [
        Record(
            key=key,
            image=files.get(key, clips / f"{key}.mp4"),
            captions=tuple(filter(None, captions.get(key, ()))),
            split=SPLITS.get(split, split),
            image_id=int(entry.get("id", number)),
            interval=_interval(entry),
        )
        for number, (key, (split, entry)) in enumerate(videos.items())
    ]
    rejected = tuple(f"{record.key} has no caption" for record in records if not record.captions)
    return CaptionSet(tuple(r for r in records if r.captions), FORMAT, rejected)


def _interval(entry: dict[str, Any]) -> tuple[float, float] | None:
    if "start time" not in entry or "end time" not in entry:
        return None
    return float(entry["start time"]), float(entry["end time"])
