"""MSR-VTT: `train_val_videodatainfo.json`, `videodatainfo_2017.json` and files made like them."""

from pathlib import Path
from typing import Any

from capjax.data.captions.records import CaptionSet, Record, clean, clip_files
from capjax.data.captions.splits import UNSPLIT, split_name
from capjax.data.formats.fields import Entry

FORMAT = "MSR-VTT JSON"
_SOURCE = (
    "MSR-VTT's JSON has videos with video_id and split, and sentences with video_id and caption; "
    "fetch the file again"
)


def matches(body: Any) -> bool:
    """Whether parsed JSON looks like this format."""
    return isinstance(body, dict) and "videos" in body and "sentences" in body


def parse(body: dict[str, Any], clips: Path) -> CaptionSet:
    """Records of the clips with sentences, which stay as they are: repeated and misspelt ones too.

    A clip's key is its `video_id`, its file that name with any suffix of a clip.

    Raises:
      ValueError: a field that is missing or of another kind, or a sentence of a clip that is not
        listed; the entry is named.
    """
    file = Entry("", body, _SOURCE)
    videos = file.entries("videos", "video")
    has_splits = any("split" in each.fields for each in videos)
    captions: dict[str, list[str]] = {each.text("video_id"): [] for each in videos}
    if len(captions) < len(videos):
        raise ValueError(f"{len(videos) - len(captions)} videos are listed twice; {_SOURCE}")
    strangers: dict[str, None] = {}
    empty: list[str] = []
    for sentence in file.entries("sentences", "sentence"):
        key, caption = sentence.text("video_id"), clean(sentence.caption("caption"))
        if key not in captions:
            strangers[key] = None
        elif caption:
            captions[key].append(caption)
        else:
            empty.append(key)
    if strangers:
        raise ValueError(
            f"sentences of {len(strangers)} videos that the file does not list, e.g. "
            f"{min(strangers)}; fetch the file again"
        )
    files = clip_files(clips)
    records = []
    for number, entry in enumerate(videos):
        key = entry.text("video_id")
        records.append(
            Record(
                key=key,
                image=files.get(key, clips / f"{key}.mp4"),
                captions=tuple(captions[key]),
                split=split_name(entry.text("split")) if has_splits else UNSPLIT,
                image_id=entry.id("id") if entry.has("id") else number,
                interval=_interval(entry),
            )
        )
    rejected = [f"{record.key} has no caption" for record in records if not record.captions]
    if beside := [key for key in empty if captions[key]]:
        rejected.append(f"{len(beside)} empty sentences of videos that have others")
    return CaptionSet(tuple(r for r in records if r.captions), FORMAT, tuple(rejected))


def _interval(entry: Entry) -> tuple[float, float] | None:
    if not (entry.has("start time") and entry.has("end time")):
        return None
    return entry.number("start time"), entry.number("end time")
