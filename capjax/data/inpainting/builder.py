"""TFDS builder: pictures without captions, such as CelebA, as ArrayRecord, without TensorFlow.

    from capjax.data.inpainting.builder import Pictures

    Pictures(config="celeba", data_dir="data/prepared").download_and_prepare()

    python train.py --config=configs/inpaint.py --config.data.name=tfds:prepared/capjax_pictures

Nothing is downloaded: the files have to lie where `python -m capjax.data where` says. TFDS's own
`celeb_a` (`file_format="array_record"`, which fetches the files itself) is read in the same way,
with --config.data.validation_split=validation. Needs the extra `tfds`.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from capjax.data.builders.images import VERSION, tfds
from capjax.data.captions.records import Record
from capjax.data.inpainting.settings import PictureConfig
from capjax.data.inpainting.sources import UNCAPTIONED, read_pictures
from capjax.data.sources.datasets import FILES


@dataclasses.dataclass
class PicturesConfig(tfds.core.BuilderConfig):
    """Which pictures to prepare.

    Attributes:
      name: of the prepared data; the names of known datasets are taken.
      dataset, images, root: see `PictureConfig`: a known dataset, or a folder.
    """

    dataset: str = ""
    images: str = ""
    root: str = ""


class Pictures(tfds.core.GeneratorBasedBuilder):
    """Training and validation pictures. Image files are stored byte for byte, as they are.

    Examples: `image` (decoded to uint8 [H W C] on reading), `key` (path below the folder).
    """

    name = "capjax_pictures"
    VERSION = tfds.core.Version(VERSION)
    BUILDER_CONFIGS = [
        PicturesConfig(name=name, dataset=name, description=FILES[name].title)
        for name in UNCAPTIONED
    ]

    def __init__(self, *, file_format: str = "array_record", **arguments: Any) -> None:
        super().__init__(file_format=file_format, **arguments)

    def _info(self) -> tfds.core.DatasetInfo:
        known = FILES.get(self.builder_config.dataset)
        features = {"image": tfds.features.Image(), "key": tfds.features.Text()}
        return self.dataset_info_from_configs(
            description=known.title if known else "Pictures without captions.",
            license=known.licence if known else None,
            disable_shuffling=True,  # training comes in the order of the list
            features=tfds.features.FeaturesDict(features),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # nothing is downloaded
        own = self.builder_config
        found = read_pictures(PictureConfig(name=own.dataset, images=own.images, root=own.root))
        return {
            "train": self._generate_examples(found.train),
            "val": self._generate_examples(found.validation),
        }

    def _generate_examples(self, records: Iterable[Record]) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, record in enumerate(records):
            yield number, {"image": record.image, "key": record.key}
