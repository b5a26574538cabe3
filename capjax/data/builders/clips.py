"""TFDS builder of clips with captions, beside those of images; same use and same extra.

    from capjax.data.builders.clips import Clips

    builder = Clips(config="msvd", data_dir="prepared")   # or config=CaptionsConfig(…)
    builder.download_and_prepare()
    source = builder.as_data_source(split="train")
    clip = load_clip(io.BytesIO(source[0]["clip"]), 26)   # capjax.data.pictures.clips; any number

Frames are not stored: whole files are smaller, and how many frames a captioner sees, and at what
size, is for its preprocessing to say.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from capjax.data.builders.images import VERSION, CaptionsConfig, tfds
from capjax.data.captions.records import Record
from capjax.data.sources.datasets import DATASETS


class Clips(tfds.core.GeneratorBasedBuilder):
    """Clips with captions. Video files are stored byte for byte, as they are.

    Examples: `clip` (the file's bytes), `captions` (every sentence), `key`, `image_id`, `interval`
    (start and end in the video it was cut from, in seconds; NaN where unknown).
    """

    name = "capjax_clips"
    VERSION = tfds.core.Version(VERSION)
    BUILDER_CONFIGS = [
        CaptionsConfig(name=name, dataset=name, description=dataset.title)
        for name, dataset in DATASETS.items()
        if dataset.clips
    ]

    def __init__(self, *, file_format: str = "array_record", **arguments: Any) -> None:
        super().__init__(file_format=file_format, **arguments)

    def _info(self) -> tfds.core.DatasetInfo:
        dataset = DATASETS.get(self.builder_config.dataset)
        return self.dataset_info_from_configs(
            description=dataset.title if dataset else "Clips with captions.",
            license=dataset.licence if dataset else None,
            disable_shuffling=True,  # training comes in the order of the caption file
            features=tfds.features.FeaturesDict(
                {
                    "clip": tfds.features.Text(),  # any bytes
                    "captions": tfds.features.Sequence(tfds.features.Text()),
                    "key": tfds.features.Text(),
                    "image_id": np.int64,
                    "interval": tfds.features.Tensor(shape=(2,), dtype=np.float64),
                }
            ),
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
                    "clip": record.image.read_bytes(),
                    "captions": list(record.captions),
                    "key": record.key,
                    "image_id": record.image_id if isinstance(record.image_id, int) else number,
                    "interval": np.array(record.interval or (np.nan, np.nan)),
                },
            )
