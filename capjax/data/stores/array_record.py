"""ArrayRecord shards as `capjax.data.builders` writes them through tensorflow-datasets.

Needs the extra `tfds`. Names and captions lie in the records, so a shard is read through once when
it is opened; images are then read by their numbers.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from capjax.data.captions.records import clean
from capjax.data.stores.beside import metadata_of
from capjax.data.stores.contract import Metadata
from capjax.data.stores.naming import Naming
from capjax.data.stores.places import Local, Place
from capjax.data.stores.remarks import Remarks

try:
    import tensorflow_datasets as tfds
except ImportError as error:
    raise ImportError(
        "reading ArrayRecord needs tensorflow-datasets (TensorFlow itself is not needed); install "
        "it with: pip install 'capjax[tfds]'"
    ) from error

FEATURES = "features.json"
"""What tensorflow-datasets says beside the shards of what the records hold."""
_IMAGES = ("image", "clip")
"""Features of `capjax.data.builders` that hold the bytes of a file."""
_CAPTIONS, _NAME = "captions", "key"
_TOGETHER = 16
"""Records in memory while names are read."""
_OPEN = 4
"""Files kept open."""


@dataclasses.dataclass(frozen=True, eq=False)
class ArrayRecordShard:
    """The records of one file; a `Shard`.

    Attributes:
      file: that holds them.
      image: feature with the bytes of the image.
      features: that and those of metadata, as tensorflow-datasets reads them.
      records: name of an image -> number of its record.
      captions: see `Shard`.
      written: `Fingerprint.times` of the file.
    """

    file: "_File"
    image: str
    features: Any
    records: Mapping[str, int]
    captions: Mapping[str, Sequence[str]]
    written: tuple[int, int] | None

    @property
    def names(self) -> Sequence[str]:
        """See `Shard`."""
        return tuple(self.records)

    @property
    def damage(self) -> None:
        """See `Shard`: one that is cut cannot be opened."""
        return None

    def times(self, name: str) -> tuple[int, int] | None:
        """See `Shard`."""
        return self.written

    def read(self, name: str) -> tuple[bytes, tuple[int, int] | None]:
        """See `Shard`."""
        return self._example(name)[self.image], self.written

    def metadata(self, name: str) -> Metadata:
        """See `Shard`; classes by their names."""
        plain = {}
        for own, value in self._example(name).items():
            if own == self.image:
                continue
            plain[own] = value.decode() if isinstance(value, bytes) else np.asarray(value).item()
            if isinstance(self.features[own], tfds.features.ClassLabel):
                plain[own] = self.features[own].int2str(plain[own])
        return metadata_of(plain)

    def _example(self, name: str) -> Mapping[str, Any]:
        (record,) = self.file.read([self.records[name]])
        return _parsed(record, self.features)


def read_array_record(place: Place, remarks: Remarks) -> ArrayRecordShard:
    """The shard of a file, read through for names and captions.

    Raises:
      OSError: the file is damaged.
      ValueError: it lies on another machine, or beside it nothing says what the records hold, or
        they hold no images.
    """
    if not isinstance(place, Local):
        raise ValueError(f"{place}: ArrayRecord is read on this machine alone; copy it here")
    path = place.path
    if not (path.parent / FEATURES).exists():
        raise ValueError(
            f"{place} lies beside no {FEATURES}, which says what its records hold; expected what "
            "capjax.data.builders write (a cache of features holds no pictures)"
        )
    written = place.times()
    features = tfds.features.FeaturesDict.from_config(str(path.parent))
    image = next((name for name in _IMAGES if name in features), None)
    if image is None:
        raise ValueError(
            f"{place} holds no images: its records have {', '.join(features)}; expected one of: "
            f"{', '.join(_IMAGES)}"
        )
    named = _some(features, [name for name in (_NAME, _CAPTIONS) if name in features])
    file, naming = _File(path), Naming(path.name, remarks)
    records: dict[str, int] = {}
    captions: dict[str, Sequence[str]] = {}
    for number, record in enumerate(_all(file)):
        example = {} if record is None else _parsed(record, named)
        name = naming.add(example.get(_NAME, b"").decode(), f"{number:06d}")
        records[name] = number
        said = [clean(caption.decode()) for caption in example.get(_CAPTIONS, ())]
        if said := list(filter(None, said)):
            captions[name] = tuple(said)
    plain = [name for name, feature in features.items() if _is_plain(name, feature)]
    kept = _some(features, [image, *plain])
    return ArrayRecordShard(file, image, kept, records, captions, written)


def _is_plain(name: str, feature: Any) -> bool:
    """Whether a feature is metadata: one number or text that is not the image or its name."""
    kinds = tfds.features.Tensor, tfds.features.Scalar, tfds.features.Text, tfds.features.ClassLabel
    return name not in (*_IMAGES, _NAME) and isinstance(feature, kinds) and feature.shape == ()


def _some(features: Any, names: Sequence[str]) -> Any:
    return tfds.features.FeaturesDict({name: features[name] for name in names})


def _parsed(record: bytes, features: Any) -> Mapping[str, Any]:
    """The features of a record; of pictures their bytes."""
    pictures = (
        name
        for name in _IMAGES
        if name in features and isinstance(features[name], tfds.features.Image)
    )
    whole = {name: tfds.decode.SkipDecoding() for name in pictures}
    return features.deserialize_example_np(record, decoders=whole)


def _all(file: "_File") -> Iterator[bytes | None]:
    """Every record; None for a damaged one among whole ones."""
    if not _opened(file).ok():
        file.read([0])  # says what is wrong
    count = _opened(file).num_records()
    for start in range(0, count, _TOGETHER):
        numbers = range(start, min(start + _TOGETHER, count))
        try:
            yield from file.read(numbers)
        except OSError:
            yield from (_whole(file, number) for number in numbers)


def _whole(file: "_File", number: int) -> bytes | None:
    try:
        return file.read([number])[0]
    except OSError:
        return None


@dataclasses.dataclass(frozen=True, eq=False)
class _File:
    """A file that is opened when it is read, and closed when others are."""

    path: pathlib.Path

    def read(self, numbers: Sequence[int]) -> Sequence[bytes]:
        """Some records; OSError where one is damaged."""
        try:
            return _opened(self).read(list(numbers))
        except RuntimeError as error:
            raise OSError(f"it is damaged ({error}); write or fetch the shard again") from error


@functools.lru_cache(_OPEN)
def _opened(file: _File) -> Any:
    return ArrayRecordReader(str(file.path))
