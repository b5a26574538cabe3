"""Reads what the TFDS builders here have written, without importing TensorFlow.

A prepared folder has `dataset_info.json` beside its ArrayRecord files. Its examples keep their
order, which is that of the captions they were made from.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capjax.data.cache.feature_cache import Rendered
from capjax.data.inputs import Examples

PREFIX = "tfds:"
INFO = "dataset_info.json"
CONTENTS = ("image", "clip")
"""Fields that hold the bytes of a file."""


@dataclasses.dataclass(frozen=True)
class PreparedSplit:
    """One split.

    Attributes:
      examples: read without decoding.
      field: of `CONTENTS`, the one that it has.
      captions: of each example.
      records: key and digest of the content of each.
    """

    examples: Examples
    field: str
    captions: tuple[tuple[str, ...], ...]
    records: tuple[Rendered, ...]


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A prepared folder.

    Attributes:
      name: builder, config and version, such as "capjax_captions/ucm/1.1.0".
      splits: names and numbers of examples.
    """

    name: str
    splits: Mapping[str, int]
    _builder: Any

    def split(self, name: str) -> PreparedSplit:
        """The examples of a split, all read once.

        Raises:
          ValueError: a split that is not there, or examples that hold no file and captions.
        """
        self._require(name)
        fields = [field for field in CONTENTS if field in self._builder.info.features]
        if not fields or not {"captions", "key"} <= set(self._builder.info.features):
            raise ValueError(
                f"{self.name} has the fields {', '.join(self._builder.info.features)}; expected an "
                "image or clip with its captions and key, as the builders `Captions` and `Clips` "
                "write them (scenes are rendered: data.name=scenes)"
            )
        (field,) = fields
        undecoded = {"image": _tfds().decode.SkipDecoding()} if field == "image" else None
        examples = self._builder.as_data_source(split=name, decoders=undecoded)
        captions, records = [], []
        for number in range(len(examples)):
            example = examples[number]
            captions.append(tuple(text.decode() for text in example["captions"]))
            digest = hashlib.sha256(example[field]).hexdigest()
            records.append(Rendered(example["key"].decode(), digest))
        return PreparedSplit(examples, field, tuple(captions), tuple(records))

    def pictures(self, name: str) -> tuple[Examples, tuple[Rendered, ...]]:
        """The examples of a split that hold pictures, captioned or not, and a record of each.

        Nothing is read beforehand: a record's key is the number of its example. So data that other
        builders prepared are read too, such as TFDS's own `celeb_a`.

        Raises:
          ValueError: a split that is not there, or examples that hold no picture.
        """
        self._require(name)
        features = self._builder.info.features
        if "image" not in features:
            raise ValueError(
                f"{self.name} has the fields {', '.join(features)}; expected one named 'image'"
            )
        decoders = {"image": _tfds().decode.SkipDecoding()}
        examples = self._builder.as_data_source(split=name, decoders=decoders)
        return examples, tuple(Rendered(f"{name}-{n}", self.name) for n in range(len(examples)))

    def _require(self, name: str) -> None:
        """Raises ValueError unless there is such a split."""
        if name not in self.splits:
            there = ", ".join(f"{each} ({count})" for each, count in self.splits.items())
            raise ValueError(f"{self.name} has no split {name!r}; it has {there or 'none'}")


def open_prepared(name: str, root: str | Path) -> Prepared:
    """The prepared data of a name.

    Args:
      name: a prepared folder or one above it, such as `capjax_captions/ucm`: absolute, or below
        `root`.
      root: data root.

    Raises:
      FileNotFoundError: nothing prepared there.
      ValueError: several prepared folders below it.
      ImportError: tensorflow-datasets is missing.
    """
    given = Path(name).expanduser()
    places = list(dict.fromkeys((given, Path(root) / given)))
    for place in places:
        found = sorted(path.parent for path in place.rglob(INFO)) if place.is_dir() else []
        if len(found) > 1:
            listed = ", ".join(str(path) for path in found)
            raise ValueError(f"{place} holds several prepared sets: {listed}; name one of them")
        if found:
            builder = _tfds().builder_from_directory(str(found[0]))
            splits = {split: info.num_examples for split, info in builder.info.splits.items()}
            return Prepared(builder.info.full_name, splits, builder)
    raise FileNotFoundError(
        f"no prepared data at {' or '.join(map(str, places))}: no {INFO} is there or below; "
        "`capjax.data.builders.images` says how to prepare some"
    )


def _tfds() -> Any:
    from capjax.data.builders.images import tfds

    return tfds
