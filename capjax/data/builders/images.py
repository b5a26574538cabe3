"""TFDS builders: caption datasets and scenes as ArrayRecord files, without TensorFlow.

    from capjax.data.builders.images import Captions

    builder = Captions(config="ucm", data_dir="prepared")   # or config=CaptionsConfig(…)
    builder.download_and_prepare()
    source = builder.as_data_source(split="train")   # random access, NumPy
    source[0]["captions"]

Nothing is downloaded: a public dataset has to lie where `python -m capjax.data where` says. Needs
the extra `tfds`.
"""

import dataclasses
import io
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from capjax.data.captions.records import CaptionSet, Record
from capjax.data.captions.splits import Draw
from capjax.data.scenes.grammar import COLOURS, DISTRACTOR_COLOUR, SHAPES, SIZES, TEXTURES
from capjax.data.scenes.still import SPLITS, Scene, Scenes
from capjax.data.sources.datasets import DATASETS, read_dataset
from capjax.data.sources.sources import read_captions

try:
    import tensorflow_datasets as tfds
except ImportError as error:
    raise ImportError(
        "capjax.data.builders.images needs tensorflow-datasets (TensorFlow itself is not needed); "
        "install it with: pip install 'capjax[tfds]'"
    ) from error

VERSION = "1.1.0"


@dataclasses.dataclass
class CaptionsConfig(tfds.core.BuilderConfig):
    """Which captions to prepare.

    Attributes:
      name: of the prepared data; the names of known datasets are taken.
      dataset: one that `python -m capjax.data where` lists.
      root: data root, or the dataset's own folder; empty: `$CAPJAX_DATA`, else `data/`.
      captions: caption file in any format that `read_captions` knows, instead of `dataset`.
      images: folder of its images or clips; empty: beside it.
    """

    dataset: str = ""
    root: str = ""
    captions: str = ""
    images: str = ""

    def read(self) -> CaptionSet:
        """The records of every split; errors are those of `read_captions` and `read_dataset`.

        Where no splits are stated, images are drawn for them.
        """
        if self.captions:
            return read_captions(self.captions, self.images or None).divided(Draw())
        return read_dataset(self.dataset, self.root or None).divided(Draw())


class Captions(tfds.core.GeneratorBasedBuilder):
    """Photographs with captions. Image files are stored byte for byte, as they are.

    Examples: `image` (decoded to uint8 [H W C] on reading), `captions` (every sentence), `key`
    (path below the image folder), `image_id`.
    """

    name = "capjax_captions"
    VERSION = tfds.core.Version(VERSION)
    BUILDER_CONFIGS = [
        CaptionsConfig(name=name, dataset=name, description=dataset.title)
        for name, dataset in DATASETS.items()
        if not dataset.clips
    ]

    def __init__(self, *, file_format: str = "array_record", **arguments: Any) -> None:
        super().__init__(file_format=file_format, **arguments)

    def _info(self) -> tfds.core.DatasetInfo:
        dataset = DATASETS.get(self.builder_config.dataset)
        return self.dataset_info_from_configs(
            description=dataset.title if dataset else "Images with captions.",
            license=dataset.licence if dataset else None,
            disable_shuffling=True,  # training comes in the order of the caption file
            features=tfds.features.FeaturesDict(_common_features()),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # nothing is downloaded
        found = self.builder_config.read()
        return {split: self._generate_examples(found.select(split)) for split in found.splits}

    def _generate_examples(self, records: Iterable[Record]) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, record in enumerate(records):
            yield (
                number,
                {
                    "image": record.image,
                    "captions": list(record.captions),
                    "key": record.key,
                    "image_id": record.image_id if isinstance(record.image_id, int) else number,
                },
            )


@dataclasses.dataclass
class ScenesConfig(tfds.core.BuilderConfig):
    """How many scenes to render.

    Attributes:
      train, val, test: scenes of each split.
      seed: other seeds give other scenes.
    """

    train: int = 20_000
    val: int = 1_000
    test: int = 1_000
    seed: int = 0


class RenderedScenes(tfds.core.GeneratorBasedBuilder):
    """The embedded scenes with their boxes, masks and the words that speak of each object.

    Examples: those of `Captions`, and `objects` (`bbox` as ymin, xmin, ymax, xmax in shares of the
    image, ends exclusive; `shape`, `colour`, `size`, `texture`, `mentioned`), `instances` [H W 1]
    (object index + 1 at each pixel, 0 for background), `mentions` of the caption (`start`, `end` of
    its words, end exclusive, and index of the `object`).
    """

    name = "capjax_scenes"
    VERSION = tfds.core.Version(VERSION)
    BUILDER_CONFIGS = [ScenesConfig(name="default", description="20,000 scenes to train on.")]

    def __init__(self, *, file_format: str = "array_record", **arguments: Any) -> None:
        super().__init__(file_format=file_format, **arguments)

    def _info(self) -> tfds.core.DatasetInfo:
        label = tfds.features.ClassLabel
        return self.dataset_info_from_configs(
            description="Rendered scenes with exact captions, boxes and masks.",
            license="Apache-2.0",
            features=tfds.features.FeaturesDict(
                {
                    **_common_features(),
                    "instances": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
                    "objects": tfds.features.Sequence(
                        {
                            "bbox": tfds.features.BBoxFeature(),
                            "shape": label(names=SHAPES),
                            "colour": label(names=(*COLOURS, DISTRACTOR_COLOUR)),
                            "size": label(names=SIZES),
                            "texture": label(names=TEXTURES),
                            "mentioned": np.bool_,
                        }
                    ),
                    "mentions": tfds.features.Sequence(
                        {"start": np.int32, "end": np.int32, "object": np.int32}
                    ),
                }
            ),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager
        config = self.builder_config
        return {
            split: self._generate_examples(Scenes(split, getattr(config, split), config.seed))
            for split in SPLITS
            if getattr(config, split)
        }

    def _generate_examples(self, scenes: Iterable[Scene]) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, scene in enumerate(scenes):
            key = f"scene_{number:06d}"
            yield key, {**_scene_example(scene), "key": key, "image_id": number}


def _common_features() -> dict[str, Any]:
    return {
        "image": tfds.features.Image(),
        "captions": tfds.features.Sequence(tfds.features.Text()),
        "key": tfds.features.Text(),
        "image_id": np.int64,
    }


def _scene_example(scene: Scene) -> dict[str, Any]:
    height, width = scene.image.shape[:2]
    instances = np.zeros((height, width), np.uint8)
    objects = []
    for number, item in enumerate(scene.objects, start=1):
        instances[item.mask] = number
        x0, y0, x1, y1 = item.box
        objects.append(
            {
                "bbox": tfds.features.BBox(
                    ymin=y0 / height,
                    xmin=x0 / width,
                    ymax=(y1 + 1) / height,
                    xmax=(x1 + 1) / width,
                ),
                "shape": item.shape,
                "colour": item.colour,
                "size": item.size,
                "texture": item.texture,
                "mentioned": item.mentioned,
            }
        )
    return {
        "image": png(scene.image),
        "captions": list(scene.captions),
        "instances": png(instances),
        "objects": objects,
        "mentions": [
            {"start": m.start, "end": m.end, "object": m.object_index} for m in scene.mentions[0]
        ],
    }


def png(image: np.ndarray) -> bytes:
    """Encoded here, because tensorflow-datasets encodes arrays with TensorFlow."""
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, format="png")
    return encoded.getvalue()
