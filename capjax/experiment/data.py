"""Captions, words and pictures of an experiment, from files or rendered."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from capjax.config import DataConfig, ExperimentConfig
from capjax.data.batches.pipeline import CaptionSamples, Inputs
from capjax.data.cache.feature_cache import Rendered
from capjax.data.captions.origin import Divided, divide
from capjax.data.captions.records import CaptionSet, Record, is_clip_name, require_images
from capjax.data.captions.splits import UNSPLIT, Draw
from capjax.data.inputs import EncodedImages, ImageInputs, file_inputs
from capjax.data.prepared import PREFIX, Prepared, open_prepared
from capjax.data.scenes.habits import with_companions
from capjax.data.scenes.moving import MovingSceneImages, MovingScenes
from capjax.data.scenes.moving_frames import MovingFrames, frame_captions
from capjax.data.scenes.still import SceneImages, Scenes
from capjax.data.sources.datasets import read_dataset
from capjax.data.sources.sources import read_captions
from capjax.runtime.files import local_path
from capjax.text.protocol import Text
from capjax.text.vocabulary import Vocabulary
from capjax.types import Preprocessing

UNKNOWN_SHARE = 0.1
"""Words of the training captions that a vocabulary may lack before a run says so."""

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
      origin: what both splits were made from, for the card.
      notes: sentences on what was left out, and on how splits were made; of the training split.
    """

    name: str
    captions: tuple[tuple[str, ...], ...]
    images: Pictures
    records: tuple[Record, ...] | tuple[Rendered, ...]
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

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
        first = _rendered(*train, config)
        if config.wrong_words:
            wrong = with_companions([own for (own,) in first.captions], config.wrong_words)
            first = dataclasses.replace(first, captions=tuple((own,) for own in wrong))
        return first, _rendered(*validation, config)
    if config.name.startswith(PREFIX):
        prepared = open_prepared(config.name.removeprefix(PREFIX), config.root)
        return _stored(*train, prepared, config), _stored(*validation, prepared, config)
    divided = read_divided(config)
    splits = [
        _recorded(name, records, limit, config, divided)
        for (name, limit), records in zip(
            (train, validation), (divided.train, divided.validation), strict=True
        )
    ]
    return splits[0], splits[1]


def read_divided(config: DataConfig) -> Divided:
    """The records of both splits: of `data.captions`, or of the dataset `data.name`.

    Errors are those of `load_splits`.
    """
    held_out: CaptionSet | None = None
    if config.captions:
        images = local_path(config.images, "data.images") if config.images else None
        captions = local_path(config.captions, "data.captions")
        found = read_captions(captions, images, check_images=False)
        if config.val_captions:
            held_out = read_captions(
                local_path(config.val_captions, "data.val_captions"), images, check_images=False
            )
    else:
        found = read_dataset(config.name, config.root, check_images=False)
        if UNSPLIT not in found.splits:  # published: a copy without one of them is damaged
            found.select(config.validation_split)
    divided = divide(
        found,
        held_out,
        draw=Draw(config.val_share, config.test_share, config.split_seed),
        train_split=config.train_split,
        validation_split=config.validation_split,
    )
    used = [*divided.train, *divided.validation]
    clips = [record.key for record in used if is_clip_name(record.image.name)]
    if clips and not config.frames:
        raise ValueError(
            f"{len(clips)} of {len(used)} files are clips, e.g. {clips[0]}: say how many frames of "
            "each the captioner sees, --config.data.frames=26"
        )
    require_images(used)
    return divided


def _recorded(
    name: str, records: Sequence[Record], limit: int, config: DataConfig, divided: Divided
) -> Split:
    kept = tuple(records[: limit or None])
    bare = [record.key for record in kept if not record.captions]
    if bare:
        raise ValueError(
            f"{len(bare)} images of split {name!r} have no caption, e.g. {bare[:3]}; "
            "leave them out of the caption file"
        )

    def images(preprocessing: Preprocessing) -> ImageInputs:
        return file_inputs(kept, preprocessing, keep_bytes=config.keep_megabytes * 2**20)

    captions = tuple(record.captions for record in kept)
    return Split(name, captions, images, kept, divided.origin, divided.notes)


def _stored(name: str, limit: int, prepared: Prepared, config: DataConfig) -> Split:
    split = prepared.split(name)
    if (split.field == "clip") != (config.frames > 0):
        raise ValueError(
            f"{prepared.name} holds {split.field}s, and data.frames is {config.frames}; expected "
            "frames of clips (such as 26), and 0 for images"
        )
    kept = slice(limit or None)

    def images(preprocessing: Preprocessing) -> ImageInputs:
        encoded = EncodedImages(split.examples, preprocessing, field=split.field)
        return ImageInputs(encoded, keep_bytes=config.keep_megabytes * 2**20)

    origin = {"prepared": prepared.name, "splits": dict(prepared.splits)}
    return Split(name, split.captions[kept], images, split.records[kept], origin)


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
    origin = {"rendered": config.name}
    return Split(name, tuple(tuple(own) for own in captions), images, records, origin)


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


def unknown_words(config: ExperimentConfig, text: Text, samples: CaptionSamples) -> list[str]:
    """A sentence where the vocabulary lacks many words of the training captions; else none."""
    words = samples.tokens[samples.tokens != text.eos]
    share = float(np.mean(words == text.unk)) if words.size else 0.0
    if share <= UNKNOWN_SHARE:
        return []
    advice = (
        f"config.init_from={config.init_from} brings its own"
        if config.init_from
        else f"a word enters it when they hold it {config.data.threshold} times "
        "(--config.data.threshold; 1 keeps all, which suits small sets)"
    )
    return [f"the vocabulary lacks {share:.0%} of the words of the training captions: {advice}"]
