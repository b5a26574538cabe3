"""Captions, words and pictures of an experiment, from files or rendered."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from capjax.config import DataConfig, ExperimentConfig
from capjax.data.datasets import DATASETS, read_dataset
from capjax.data.feature_cache import Rendered
from capjax.data.inputs import ImageInputs, file_inputs
from capjax.data.moving_frames import MovingFrames, frame_captions
from capjax.data.moving_scenes import MovingSceneImages, MovingScenes
from capjax.data.pipeline import Inputs
from capjax.data.records import Record
from capjax.data.scenes import SceneImages, Scenes
from capjax.text.vocabulary import Vocabulary
from capjax.types import Preprocessing

Pictures = Callable[[Preprocessing], Inputs]
"""Makes what draws or loads images by number."""


def _scenes(split: str, count: int) -> tuple[Sequence[Sequence[str]], Pictures]:
    scenes = Scenes(split, count)
    return scenes.captions(), functools.partial(SceneImages, scenes)


def _moving_scenes(split: str, count: int) -> tuple[Sequence[Sequence[str]], Pictures]:
    scenes = MovingScenes(split, count)
    return scenes.captions(), functools.partial(MovingSceneImages, scenes)


def _moving_frames(split: str, count: int) -> tuple[Sequence[Sequence[str]], Pictures]:
    scenes = MovingScenes(split, count)
    return frame_captions(scenes), functools.partial(MovingFrames, scenes)


RENDERED: Mapping[str, Callable[[str, int], tuple[Sequence[Sequence[str]], Pictures]]] = {
    "scenes": _scenes,
    "moving_scenes": _moving_scenes,
    "moving_frames": _moving_frames,
}
"""Captions and pictures, by number, of the first so many of a split that is drawn."""


@dataclasses.dataclass(frozen=True)
class Split:
    """One part of the data; images are numbered in its order.

    Attributes:
      name: of the split.
      captions: sentences of each image.
      images: makes what loads images by number.
      records: one an image.
    """

    name: str
    captions: tuple[tuple[str, ...], ...]
    images: Pictures
    records: tuple[Record, ...] | tuple[Rendered, ...]

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
    if config.name in RENDERED:
        return _rendered(*train, config), _rendered(*validation, config)
    if config.name in DATASETS and DATASETS[config.name].clips and not config.frames:
        raise ValueError(
            f"{config.name} holds clips: say how many frames of each, --config.data.frames=26"
        )
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
            f"{config.name} are rendered, so say how many: set data.train_images and "
            f"data.validation_images; split {name!r} got {count}"
        )
    captions, pictures = RENDERED[config.name](name, count)

    def images(preprocessing: Preprocessing) -> ImageInputs:
        drawn = _RenderedImage(pictures(preprocessing))
        return ImageInputs(drawn, keep_bytes=config.keep_megabytes * 2**20)

    records = tuple(Rendered(f"{name}-{number}") for number in range(count))
    return Split(name, tuple(tuple(own) for own in captions), images, records)


@dataclasses.dataclass(frozen=True)
class _RenderedImage:
    """One prepared picture or clip; safe in worker processes."""

    pictures: Inputs

    def __call__(self, number: int) -> np.ndarray:
        return self.pictures(np.asarray([number]))["image"][0]


def build_vocabulary(config: ExperimentConfig, train: Split) -> Vocabulary:
    """The words of the training captions, and of no others."""
    captions = (caption for own in train.captions for caption in own)
    cap = config.data.cap or None
    return Vocabulary.build(captions, threshold=config.data.threshold, cap=cap)
