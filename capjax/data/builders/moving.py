"""TFDS builder of the moving scenes, beside those of images; same use, same extra.

from capjax.data.builders.moving import RenderedMovingScenes

builder = RenderedMovingScenes(data_dir="prepared")
builder.download_and_prepare()
source = builder.as_data_source(split="train")
source[0]["frames"]
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from capjax.data.builders.images import VERSION, png, tfds
from capjax.data.scenes.grammar import COLOURS, DISTRACTOR_COLOUR, SHAPES, SIZES
from capjax.data.scenes.moving import FRAMES, MovingScene, MovingScenes
from capjax.data.scenes.moving_grammar import VERBS
from capjax.data.scenes.still import SPLITS


@dataclasses.dataclass
class MovingScenesConfig(tfds.core.BuilderConfig):
    """How many clips to render.

    Attributes:
      train, val, test: clips of each split.
      seed: other seeds give other clips.
    """

    train: int = 6_000
    val: int = 500
    test: int = 500
    seed: int = 0


class RenderedMovingScenes(tfds.core.GeneratorBasedBuilder):
    """The moving scenes with boxes by frame and the frames of every action.

    Examples: `frames` [F H W 3]; `captions` (one), `key`, `image_id`; `objects` (`boxes` [F 4] as
    x0, y0, x1, y1 in pixels, both ends inclusive; `shape`, `colour`, `size`, `mentioned`);
    `mentions` of the caption (`start`, `end` of its words, end exclusive, and index of the
    `object`); `events` (`verb`, `start`, `end` of its words, index of the `object`, and its frames
    `first` to `last`, the latter exclusive).
    """

    name = "capjax_moving_scenes"
    VERSION = tfds.core.Version(VERSION)
    BUILDER_CONFIGS = [MovingScenesConfig(name="default", description="6,000 clips to train on.")]

    def __init__(self, *, file_format: str = "array_record", **arguments: Any) -> None:
        super().__init__(file_format=file_format, **arguments)

    def _info(self) -> tfds.core.DatasetInfo:
        sequence, label = tfds.features.Sequence, tfds.features.ClassLabel
        words = {"start": np.int32, "end": np.int32, "object": np.int32}
        return self.dataset_info_from_configs(
            description="Rendered clips with exact captions, boxes by frame and events.",
            license="Apache-2.0",
            features=tfds.features.FeaturesDict(
                {
                    "frames": sequence(tfds.features.Image(encoding_format="png"), length=FRAMES),
                    "captions": sequence(tfds.features.Text()),
                    "key": tfds.features.Text(),
                    "image_id": np.int64,
                    "objects": sequence(
                        {
                            "boxes": tfds.features.Tensor(shape=(FRAMES, 4), dtype=np.int32),
                            "shape": label(names=SHAPES),
                            "colour": label(names=(*COLOURS, DISTRACTOR_COLOUR)),
                            "size": label(names=SIZES),
                            "mentioned": np.bool_,
                        }
                    ),
                    "mentions": sequence(words),
                    "events": sequence(
                        {**words, "verb": label(names=VERBS), "first": np.int32, "last": np.int32}
                    ),
                }
            ),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager
        config = self.builder_config
        return {
            split: self._generate_examples(MovingScenes(split, getattr(config, split), config.seed))
            for split in SPLITS
            if getattr(config, split)
        }

    def _generate_examples(
        self, clips: Iterable[MovingScene]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, clip in enumerate(clips):
            key = f"clip_{number:06d}"
            yield key, {**_example(clip), "key": key, "image_id": number}


def _example(clip: MovingScene) -> dict[str, Any]:
    return {
        "frames": [png(frame) for frame in clip.frames],
        "captions": [clip.caption],
        "objects": [
            {
                "boxes": item.boxes.astype(np.int32),
                "shape": item.shape,
                "colour": item.colour,
                "size": item.size,
                "mentioned": item.mentioned,
            }
            for item in clip.objects
        ],
        "mentions": [
            {"start": mention.start, "end": mention.end, "object": mention.object_index}
            for mention in clip.mentions
        ],
        "events": [
            {
                "verb": event.verb,
                "start": event.words[0],
                "end": event.words[1],
                "object": event.object_index,
                "first": event.start,
                "last": event.end,
            }
            for event in clip.events
        ],
    }
