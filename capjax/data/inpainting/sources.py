"""Pictures to learn from and to validate on: of known datasets, or in folders."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from capjax.data.captions.origin import divide
from capjax.data.captions.records import (
    CaptionSet,
    Record,
    is_clip_name,
    is_foreign_name,
    require_images,
)
from capjax.data.captions.splits import UNSPLIT, Draw, split_name
from capjax.data.formats.coco import split_of
from capjax.data.formats.encoded import decode_text
from capjax.data.formats.fields import Entry, load_json
from capjax.data.inpainting.licences import licensed, read_licences
from capjax.data.inpainting.settings import PictureConfig, wanted_licences
from capjax.data.sources.datasets import (
    DATASETS,
    FILES,
    ROOT_VARIABLE,
    data_root,
    expected_files,
    find_dataset,
    read_dataset,
)
from capjax.data.sources.sources import caption_files, read_folder
from capjax.runtime.files import local_path

UNCAPTIONED = ("celeba", "places365")
"""Datasets of pictures without captions, of `python -m capjax.data where`."""

_PARTITIONS = {"0": "train", "1": "val", "2": "test"}
_SOURCE = "COCO JSON has images with file_name"


@dataclasses.dataclass(frozen=True)
class PictureFiles:
    """Pictures of a run.

    Attributes:
      train, validation: records, whose captions nobody reads.
      origin: what they were read from, for the card.
      notes: sentences on what was left out, and on how splits were made.
    """

    train: tuple[Record, ...]
    validation: tuple[Record, ...]
    origin: Mapping[str, Any]
    notes: tuple[str, ...]


def read_pictures(config: PictureConfig) -> PictureFiles:
    """The pictures of `config`, but no scenes and nothing prepared.

    Raises:
      FileNotFoundError: files are missing; the text says which, and where to get them.
      ValueError: unknown name, a damaged file, or no pictures of a licence or a split.
    """
    found, held_out = _found(config)
    notes: tuple[str, ...] = ()
    wanted = wanted_licences(config.licences)
    if wanted:
        found, note = licensed(found, read_licences(_coco_files(config)), wanted)
        notes = (note,)
    draw = Draw(config.val_share, config.test_share, config.split_seed)
    divided = divide(
        found,
        held_out,
        draw=draw,
        train_split=config.train_split,
        validation_split=config.validation_split,
    )
    splits = [
        tuple(records)[: limit or None]
        for records, limit in (
            (divided.train, config.train_images),
            (divided.validation, config.validation_images),
        )
    ]
    require_images([record for own in splits for record in own])
    source = config.name or Path(config.images).name
    origin = {"pictures": source, "licences": config.licences, **divided.origin}
    return PictureFiles(splits[0], splits[1], origin, (*notes, *divided.notes))


def _found(config: PictureConfig) -> tuple[CaptionSet, CaptionSet | None]:
    """The pictures, and those to validate on where they are elsewhere."""
    if config.images:
        folder = local_path(config.images, "data.images")
        if config.annotations:
            return _listed(caption_files(config.annotations), folder), None
        found = _only_pictures(_by_folder(read_folder(folder), ("train", "val"), folder))
        if not config.val_images:
            return found, None
        return found, _only_pictures(read_folder(local_path(config.val_images, "data.val_images")))
    if config.name in UNCAPTIONED:
        return _uncaptioned(config.name, config.root), None
    known = [name for name, dataset in DATASETS.items() if not dataset.clips]
    if config.name not in known:
        raise ValueError(
            f"unknown data.name {config.name!r}; choose one of: "
            f"{', '.join((*UNCAPTIONED, *known, 'scenes', 'tfds:FOLDER'))}; or set data.images"
        )
    return read_dataset(config.name, config.root or None, check_images=False), None


def _uncaptioned(name: str, root: str) -> CaptionSet:
    """CelebA by its list of partitions, Places365 by its folders."""
    base = data_root(root)
    files = FILES[name]
    for folder in (base / files.folder, base):
        for parts in files.files:
            if all((folder / part).exists() for part in parts):
                if name == "celeba":
                    return _partitioned(folder / parts[0], folder / parts[1])
                return _only_pictures(_folders(folder, parts))
    raise FileNotFoundError(
        f"dataset {name!r} is not at {base / files.folder}; expected there\n"
        + "\n".join(f"  {line}" for line in expected_files(files))
        + "\nfetch\n"
        + "\n".join(f"  {line}" for line in files.source)
        + f"\nthen pass its data root (or folder), or set ${ROOT_VARIABLE}"
    )


def _partitioned(images: Path, path: Path) -> CaptionSet:
    """CelebA: lines of a file name and 0, 1 or 2, with spaces or, as on Kaggle, a comma between."""
    records: list[Record] = []
    for number, line in enumerate(decode_text(path.read_bytes()).splitlines(), start=1):
        cells = line.replace(",", " ").split()
        if not cells or cells == ["image_id", "partition"]:
            continue
        if len(cells) != 2 or cells[1] not in _PARTITIONS:
            raise ValueError(
                f"{path}, line {number}: got {line[:60]!r}; expected a file name and 0 (train), 1 "
                "(val) or 2 (test)"
            )
        split = _PARTITIONS[cells[1]]
        records.append(Record(cells[0], images / cells[0], (), split, len(records)))
    return CaptionSet(tuple(records), "CelebA's list of partitions")


def _folders(folder: Path, parts: Sequence[str]) -> CaptionSet:
    """Two folders, one a split."""
    records: list[Record] = []
    for part, split in zip(parts, ("train", "val"), strict=True):
        own = read_folder(folder / part)
        records += [
            dataclasses.replace(record, key=f"{part.rstrip('/')}/{record.key}", split=split)
            for record in own
        ]
    return CaptionSet(tuple(records), "folders")


def _by_folder(found: CaptionSet, splits: Sequence[str], folder: Path) -> CaptionSet:
    """The splits of records that lie in folders of these names right below `folder`."""
    if not all((folder / split).is_dir() for split in splits):
        return found
    below = (record for record in found if record.key.split("/")[0] in splits)
    records = tuple(dataclasses.replace(record, split=record.key.split("/")[0]) for record in below)
    return dataclasses.replace(found, records=records)


def _listed(paths: Iterable[Path], folder: Path) -> CaptionSet:
    """The pictures that COCO JSON files list, in the splits that their names speak of."""
    records = []
    for path in paths:
        split = split_of(path.stem)
        try:
            file = Entry("", load_json(decode_text(path.read_bytes())), _SOURCE)
            for entry in file.entries("images", "image"):
                name = entry.text("file_name")
                own = UNSPLIT if split is None else split_name(split)
                records.append(Record(name, folder / name, (), own, entry.id("id")))
        except (AttributeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error
    return CaptionSet(tuple(records), "COCO JSON")


def _only_pictures(found: CaptionSet) -> CaptionSet:
    """Without clips and pictures of a kind that is not read, which are counted."""
    kept = tuple(r for r in found if not (is_clip_name(r.key) or is_foreign_name(r.key)))
    if not kept:
        raise ValueError("no picture of a kind that is read in the folder of pictures")
    left = len(found) - len(kept)
    more = (f"{left} clips, or pictures of a kind that is not read",) if left else ()
    return dataclasses.replace(found, records=kept, rejected=(*found.rejected, *more))


def _coco_files(config: PictureConfig) -> list[Path]:
    """The COCO JSON files that state licences."""
    if config.annotations:
        return caption_files(config.annotations)
    if config.images or config.name in UNCAPTIONED:
        raise ValueError(
            "data.licences chooses by what COCO JSON states; name such files of the pictures in "
            "data.annotations, or leave data.licences empty"
        )
    folder, layout = find_dataset(config.name, config.root or None)
    return [folder / captions for captions, _ in layout.parts]
