"""Captions, words and pictures of an experiment, from files or rendered."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from capjax.config import DataConfig, ExperimentConfig
from capjax.data.datasets import read_dataset
from capjax.data.inputs import ImageInputs, file_inputs
from capjax.data.pipeline import Inputs
from capjax.data.records import Record
from capjax.data.scenes import SceneImages, Scenes
from capjax.text.vocabulary import Vocabulary
from capjax.types import Preprocessing

SCENES = "scenes"


@dataclasses.dataclass(frozen=True)
class Split:
    """One part of the data; images are numbered in its order.

    Attributes:
      name: of the split.
      captions: sentences of each image.
      images: makes what loads images by number.
      records: one an image; None where images are rendered.
    """

    name: str
    captions: tuple[tuple[str, ...], ...]
    images: Callable[[Preprocessing], Inputs]
    records: tuple[Record, ...] | None

    def __len__(self) -> int:
        return len(self.captions)


def load_splits(config: DataConfig) -> tuple[Split, Split]:
    """The training and the validation split.

    Raises:
      FileNotFoundError: files are missing; the text says which, and where to get them.
      ValueError: a damaged caption file, or a split it does not hold.
    """
    train = (config.train_split, config.train_images)
    validation = (config.validation_split, config.validation_images)
    if config.name == SCENES:
        return _rendered(*train, config), _rendered(*validation, config)
    everything = read_dataset(config.name, config.root, check_images=True)
    return (
        _recorded(train[0], everything.select(train[0]), train[1], config),
        _recorded(validation[0], everything.select(validation[0]), validation[1], config),
    )


def _recorded(name: str, records: Sequence[Record], limit: int, config: DataConfig) -> Split:
    kept = tuple(records[: limit or None])
    bare = [record.key for record in kept if not record.captions]
    if bare:
        raise ValueError(
            f"{len(bare)} images of split {name!r} have no caption, e.g. {bare[:3]}; "
            "leave them out of the caption file"
        )

    def images(preprocessing: Preprocessing) -> ImageInputs:
        return file_inputs(kept, preprocessing, keep_bytes=config.keep_megabytes * 2**20)

    return Split(name, tuple(record.captions for record in kept), images, kept)


def _rendered(name: str, count: int, config: DataConfig) -> Split:
    if count < 1:
        raise ValueError(
            "scenes are rendered, so say how many: set data.train_images and "
            f"data.validation_images; split {name!r} got {count}"
        )
    scenes = Scenes(name, count)

    def images(preprocessing: Preprocessing) -> ImageInputs:
        return ImageInputs(
            _RenderedScene(SceneImages(scenes, preprocessing)),
            keep_bytes=config.keep_megabytes * 2**20,
        )

    return Split(name, tuple(scenes.captions()), images, None)


@dataclasses.dataclass(frozen=True)
class _RenderedScene:
    """One prepared picture; safe in worker processes."""

    pictures: SceneImages

    def __call__(self, number: int) -> np.ndarray:
        return self.pictures(np.asarray([number]))["image"][0]


def build_vocabulary(config: ExperimentConfig, train: Split) -> Vocabulary:
    """The words of the training captions, and of no others."""
    captions = (caption for own in train.captions for caption in own)
    cap = config.data.cap or None
    return Vocabulary.build(captions, threshold=config.data.threshold, cap=cap)
