"""The pictures of a run, by number: from files, prepared by TFDS, or rendered."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from capjax.data.cache.feature_cache import Rendered
from capjax.data.captions.records import Record
from capjax.data.inpainting.batches import Parts
from capjax.data.inpainting.crops import Crops, EncodedByNumber, Fit, PictureFilesByNumber
from capjax.data.inpainting.scene_holes import SceneHoles
from capjax.data.inpainting.settings import SCENES, PictureConfig
from capjax.data.inpainting.sources import read_pictures
from capjax.data.prepared import PREFIX, Prepared, open_prepared
from capjax.data.sources.datasets import data_root


@dataclasses.dataclass(frozen=True)
class PictureSplit:
    """One part of the data; pictures are numbered in its order.

    Attributes:
      name: of the split.
      parts: of its pictures, by number.
      records: one a picture.
      holes: whether `parts` bring holes of their own.
    """

    name: str
    parts: Parts
    records: tuple[Record, ...] | tuple[Rendered, ...]
    holes: bool = False

    def __len__(self) -> int:
        return len(self.records)


@dataclasses.dataclass(frozen=True)
class PictureSplits:
    """What a run learns from and validates on.

    Attributes:
      train, validation: pictures.
      origin: what they were read from, for the card.
      notes: sentences on what was left out, and on how splits were made.
    """

    train: PictureSplit
    validation: PictureSplit
    origin: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def load_pictures(config: PictureConfig) -> PictureSplits:
    """The training and the validation split.

    Raises:
      FileNotFoundError: files are missing; the text says which, and where to get them.
      ValueError: a damaged file, or a split that is not there.
    """
    train = (config.train_split, config.train_images)
    validation = (config.validation_split, config.validation_images)
    if config.name == SCENES:
        origin: dict[str, Any] = {"rendered": SCENES}
        return PictureSplits(_scenes(*train, config), _scenes(*validation, config), origin)
    if config.name.startswith(PREFIX):
        if config.licences:
            raise ValueError("data.licences chooses by COCO JSON, and prepared data keep none")
        root = str(data_root(config.root))
        prepared = open_prepared(config.name.removeprefix(PREFIX), root)
        origin = {"prepared": prepared.name, "splits": dict(prepared.splits)}
        return PictureSplits(
            _prepared(*train, prepared, config), _prepared(*validation, prepared, config), origin
        )
    found = read_pictures(config)
    return PictureSplits(
        _files(train[0], found.train, config),
        _files(validation[0], found.validation, config),
        found.origin,
        found.notes,
    )


def _scenes(name: str, count: int, config: PictureConfig) -> PictureSplit:
    parts = SceneHoles(name, config.side, config.grow, config.mirror)
    records = tuple(Rendered(f"{name}-{number}") for number in range(count))
    return PictureSplit(name, parts, records, holes=True)


def _prepared(name: str, limit: int, prepared: Prepared, config: PictureConfig) -> PictureSplit:
    examples, records = prepared.pictures(name)
    parts = _crops(EncodedByNumber(examples, Fit.of(config)), config)
    return PictureSplit(name, parts, records[: limit or None])


def _files(name: str, records: tuple[Record, ...], config: PictureConfig) -> PictureSplit:
    paths = tuple(record.image for record in records)
    return PictureSplit(name, _crops(PictureFilesByNumber(paths, Fit.of(config)), config), records)


def _crops(load: Any, config: PictureConfig) -> Crops:
    return Crops(load, config.side, config.mirror, keep_bytes=config.keep_megabytes * 2**20)
