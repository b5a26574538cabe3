"""What batches are made of: prepared images, or cached features, by number."""

import dataclasses
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from capjax.data.batches.pipeline import Batch, Inputs
from capjax.data.cache.feature_cache import FeatureCache, Rendered
from capjax.data.captions.records import Record
from capjax.data.pictures.clips import load_prepared_clip
from capjax.data.pictures.images import UnreadableFileError, load_prepared
from capjax.data.pictures.resizers import PILLOW
from capjax.types import Preprocessing


@dataclasses.dataclass(frozen=True, eq=False)
class ImageInputs:
    """`image` [B H W 3] uint8, of clips [B F H W 3], as the encoder's preprocessing wants it.

    Attributes:
      load: the prepared image of a number; deterministic and picklable.
      keep_bytes: prepared images kept in memory, in each process, in bytes. The first that come
        stay: in shuffled epochs every image is as likely to come next, so none is worth evicting.
    """

    load: Callable[[int], np.ndarray]
    keep_bytes: int = 0
    _kept: dict[int, np.ndarray] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def __call__(self, numbers: np.ndarray) -> Batch:
        """Images of the given numbers."""
        return {"image": np.stack([self._image(int(number)) for number in numbers])}

    def _image(self, number: int) -> np.ndarray:
        image = self._kept.get(number)
        if image is None:
            image = self.load(number)
            if (len(self._kept) + 1) * image.nbytes <= self.keep_bytes:
                self._kept[number] = image
        return image

    def __getstate__(self) -> dict[str, Any]:
        return {"load": self.load, "keep_bytes": self.keep_bytes, "_kept": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFiles:
    """Loads and prepares the file of a number, an image or a clip as `preprocessing` says.

    Unreadable files raise, named.

    Attributes:
      paths: of all files.
      preprocessing: of the captioner.
      resizer: of images, a key of `capjax.data.pictures.resizers.RESIZERS`.
    """

    paths: tuple[Path, ...]
    preprocessing: Preprocessing
    resizer: str = PILLOW

    def __call__(self, number: int) -> np.ndarray:
        """The prepared image [H W 3], or clip [F H W 3], uint8."""
        path = self.paths[number]
        if self.preprocessing.frames:
            return load_prepared_clip(path, self.preprocessing)[0]
        return load_prepared(path, self.preprocessing, resizer=self.resizer)[0]


class Examples(Protocol):
    """Prepared data with random access, e.g. of a builder's `as_data_source`."""

    def __getitem__(self, index: Any) -> Any: ...


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedImages:
    """Decodes and prepares the file, of an image or clip, that an example holds in a field.

    Attributes:
      examples: of `capjax.data.builders.images`, read without decoding:
        `builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})`.
      preprocessing: of the captioner.
      resizer: of images, a key of `capjax.data.pictures.resizers.RESIZERS`.
      field: that holds the bytes of the file.
    """

    examples: Examples
    preprocessing: Preprocessing
    resizer: str = PILLOW
    field: str = "image"

    def __call__(self, number: int) -> np.ndarray:
        """The prepared image [H W 3], or clip [F H W 3], uint8."""
        content = io.BytesIO(self.examples[number][self.field])
        content.name = f"example {number}"  # of an error
        if self.preprocessing.frames:
            return load_prepared_clip(content, self.preprocessing)[0]
        return load_prepared(content, self.preprocessing, resizer=self.resizer)[0]


def file_inputs(
    records: Iterable[Record], preprocessing: Preprocessing, *, keep_bytes: int = 0
) -> ImageInputs:
    """Images or clips of records, numbered in their order."""
    paths = tuple(record.image for record in records)
    return ImageInputs(ImageFiles(paths, preprocessing), keep_bytes=keep_bytes)


def resized_by(resizer: str, inputs: Inputs) -> Inputs:
    """The same inputs with another resizer of image files; what reads no such file stays."""
    if isinstance(inputs, ImageInputs) and isinstance(inputs.load, ImageFiles | EncodedImages):
        load = dataclasses.replace(inputs.load, resizer=resizer)
        return dataclasses.replace(inputs, load=load)
    return inputs


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureInputs:
    """`features` [B F P D] from a cache, as it stores them.

    Attributes:
      cache: where they are read.
      rows: row of the cache for each number.
    """

    cache: FeatureCache
    rows: np.ndarray

    @classmethod
    def of(cls, cache: FeatureCache, records: Sequence[Record | Rendered]) -> "FeatureInputs":
        """Features of records, numbered in their order; absent ones are an error."""
        return cls(cache, cache.rows([record.key for record in records]))

    def __call__(self, numbers: np.ndarray) -> Batch:
        """Features of the given numbers; of images that could not be decoded there are none."""
        features = self.cache.read(self.rows[numbers])
        missing = np.flatnonzero(np.isnan(features[:, 0, 0, 0]))
        if missing.size:
            key = self.cache.keys[self.rows[numbers[missing[0]]]]
            raise UnreadableFileError(
                f"{key} could not be decoded when the features in {self.cache.folder} were made; "
                "mend the file, then remove that folder"
            )
        return {"features": features}
