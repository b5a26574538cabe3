"""What every caption source becomes: a list of records, one per image or clip."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

from capjax.data.captions.splits import UNSPLIT, Draw
from capjax.runtime.files import listed

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".gif"),
    *(".bmp", ".dib", ".tif", ".tiff", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm"),
)
FOREIGN_SUFFIXES = (
    *(".heic", ".heif", ".svg", ".jxl", ".psd", ".tga", ".exr", ".hdr"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2"),
)
"""Of pictures that are not read: found where pictures are asked for, they fail by name."""
VIDEO_SUFFIXES = (
    *(".mp4", ".avi", ".mkv", ".mov", ".webm"),
    *(".m4v", ".mpg", ".mpeg", ".wmv", ".flv"),
)
"""What a clip's name ends with. An animated GIF is a clip only to captioners of clips."""
LISTED = 10
REMARKED = 3
"""Of many lines, a list shows so many, and a sentence."""


@dataclasses.dataclass(frozen=True)
class CaptionFile:
    """A file that captions were read from.

    Attributes:
      name: without folders.
      sha256: of its content.
      format: that was recognised.
    """

    name: str
    sha256: str
    format: str


@dataclasses.dataclass(frozen=True)
class Record:
    """One image or clip and what people said about it.

    Attributes:
      key: unique in its source and stable: the image's path below the image folder, with `/`; for
        clips of MSVD and MSR-VTT their name without suffix, since copies differ in it.
      image: the file, of the picture or of the clip.
      captions: raw sentences, whitespace normalised; empty for a plain folder.
      split: "train", "val", "test" or another that the source names; `UNSPLIT` where it has none.
      image_id: id of the image in its source, for COCO results files.
      interval: (start, end) of a clip in the video it was cut from, in seconds, where known.
    """

    key: str
    image: Path
    captions: tuple[str, ...]
    split: str
    image_id: int | str
    interval: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class CaptionSet(Sequence[Record]):
    """The records of one source, in its order, and what had to be left out.

    Attributes:
      records: one per image or clip.
      format: name of the format that was recognised.
      rejected: one sentence for each line or group of images that was left out.
      notes: one sentence for whatever was read differently from how it is written.
      files: what was read.
    """

    records: tuple[Record, ...]
    format: str
    rejected: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    files: tuple[CaptionFile, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "records", tuple(self.records))
        object.__setattr__(self, "rejected", tuple(self.rejected))
        counts = collections.Counter(record.key for record in self.records)
        twice = [key for key, count in counts.items() if count > 1]
        if twice:
            raise ValueError(
                f"{len(twice)} images are described twice, e.g. {twice[:3]}; "
                "merge their captions under one entry"
            )

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        return self.records[index]

    @property
    def splits(self) -> dict[str, tuple[int, int]]:
        """Numbers of (images, captions) by split, in order of first appearance."""
        found: dict[str, tuple[int, int]] = {}
        for record in self.records:
            images, captions = found.get(record.split, (0, 0))
            found[record.split] = (images + 1, captions + len(record.captions))
        return found

    def select(self, split: str) -> "CaptionSet":
        """The records of one split; an absent split is an error that names the others."""
        chosen = tuple(record for record in self.records if record.split == split)
        if not chosen and set(self.splits) == {UNSPLIT}:
            raise ValueError(
                f"no image belongs to split {split!r}: no splits are stated, for none of the "
                f"{len(self)} images; ask for the split {UNSPLIT!r} (all of them), state splits (a "
                "column `split`, Karpathy's JSON, or one COCO file each with train, val or test in "
                "its name), or ask with the model that was trained on this very file, which knows "
                "what it held out"
            )
        if not chosen:
            there = ", ".join(f"{name} ({n[0]} images)" for name, n in self.splits.items())
            raise ValueError(f"no image belongs to split {split!r}; there are: {there or 'none'}")
        return dataclasses.replace(self, records=chosen)

    def divided(self, draw: Draw) -> "CaptionSet":
        """The same records; those of the split `draw.of` in the splits that are drawn for them."""
        drawn = iter(draw.splits([r.key for r in self.records if r.split == draw.of]))
        records = (
            dataclasses.replace(record, split=next(drawn)) if record.split == draw.of else record
            for record in self.records
        )
        return dataclasses.replace(self, records=tuple(records))

    @property
    def remarks(self) -> list[str]:
        """A sentence each on what was left out and on what was read differently from the file."""
        found = []
        for label, lines in (("left out", self.rejected), ("read otherwise", self.notes)):
            if lines:
                shown = listed(lines, most=REMARKED, between="; ")
                found.append(f"{label}, {len(lines)}: {shown}")
        return found


def clean(caption: str) -> str:
    """A caption on one line, without leading, trailing or repeated whitespace."""
    return " ".join(caption.split())


def is_image_name(name: str) -> bool:
    """Whether a file name ends like an image's."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def is_foreign_name(name: str) -> bool:
    """Whether a file name ends like that of a picture that is not read."""
    return name.lower().endswith(FOREIGN_SUFFIXES)


def is_clip_name(name: str) -> bool:
    """Whether a file name ends like a video's."""
    return name.lower().endswith(VIDEO_SUFFIXES)


def clip_files(folder: Path) -> dict[str, Path]:
    """The clips in a folder by name without suffix; empty where there is no such folder."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.stem: path for path in paths if is_clip_name(path.name) and path.name[0] != "."}


def missing_images(records: Iterable[Record]) -> list[Path]:
    """Image files of `records` that are not there."""
    return [record.image for record in records if not record.image.is_file()]


def require_images(records: Sequence[Record]) -> None:
    """Raises FileNotFoundError listing the first missing image files, if any is missing."""
    missing = missing_images(records)
    if missing:
        shown = listed([str(path) for path in missing], most=LISTED, between="\n  ")
        raise FileNotFoundError(
            f"{len(missing)} of {len(records)} image files are missing, first:\n  {shown}\n"
            "check the image folder, or complete the download"
        )
