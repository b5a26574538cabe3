"""What a run learns from, noted in its workdir so that a resumed run brings the same.

    samples.json   of each split, in its order: [key, bytes of its file, sha256 of it, digest of its
                   captions] an image; the preprocessing

The SHA-256 is the feature cache's, which reads whole files. Of images that are decoded anew in
every epoch only the size of the file is noted. Prepared examples of TFDS have the digest of what is
stored. Rendered images have no file: the first one as it is drawn (`first`) stands for all.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from capjax.captioner import Captioner
from capjax.config import ExperimentConfig
from capjax.data.batches.pipeline import Inputs
from capjax.data.cache.feature_cache import Rendered, file_bytes
from capjax.data.inputs import FeatureInputs
from capjax.experiment.data import Split, build_vocabulary, load_splits
from capjax.experiment.starting import load_start
from capjax.text.protocol import Text
from capjax.train.checkpoint import digest
from capjax.types import Preprocessing

NAMED = 3
"""Differences that a message lists."""


@dataclasses.dataclass(frozen=True)
class Material:
    """What a run learns from, before anything is computed of it.

    Attributes:
      train, validation: captions and images.
      source: the captioner it starts from; None for random weights.
      text: words, of the source or of the training captions.
    """

    train: Split
    validation: Split
    source: Captioner | None
    text: Text

    @property
    def splits(self) -> tuple[Split, Split]:
        """Both, training first."""
        return self.train, self.validation

    @functools.cached_property
    def sizes(self) -> tuple[list[int], list[int]]:
        """Bytes of each file of both splits."""
        with concurrent.futures.ThreadPoolExecutor() as readers:  # remote file systems take time
            train, validation = (list(readers.map(file_bytes, s.records)) for s in self.splits)
        return train, validation

    def texts(self) -> dict[str, list[str]]:
        """All of it as lists of texts, for processes that must agree."""
        found = {"words": _words(self.text)}
        for split, sizes in zip(self.splits, self.sizes, strict=True):
            records: Sequence[Any] = split.records
            found[f"captions of split {split.name!r}"] = [
                f"{record.key} ({_stored(record) or f'{size} bytes'}): {' / '.join(captions)}"
                for record, size, captions in zip(records, sizes, split.captions, strict=True)
            ]
        return found


def read_material(config: ExperimentConfig) -> Material:
    """The splits, the captioner to start from, and the words.

    Raises:
      FileNotFoundError, ValueError: data or captioner are missing or damaged.
    """
    train, validation = load_splits(config.data)
    source = load_start(config)
    text = build_vocabulary(config, train) if source is None else source.text
    return Material(train, validation, source, text)


def describe_samples(
    material: Material, inputs: Sequence[Inputs] = (), preprocessing: Preprocessing | None = None
) -> dict[str, Any]:
    """The content of samples.json.

    Args:
      material: what is learnt from.
      inputs: of both splits, once they are there.
      preprocessing: of the model, once it is there.
    """
    described: dict[str, Any] = {}
    for role, split, sizes, own in itertools.zip_longest(
        ("train", "validation"), material.splits, material.sizes, inputs
    ):
        hashes = _hashes(own)
        images = [
            [record.key, size, hashes.get(record.key) or _stored(record), _digest(captions)]
            for record, size, captions in zip(split.records, sizes, split.captions, strict=True)
        ]
        described[role] = {"split": split.name, "images": images}
        first = split.records[0]
        if preprocessing is not None and isinstance(first, Rendered) and not first.content:
            described[role]["first"] = digest(split.images(preprocessing)(np.zeros(1, int)))
    if preprocessing is not None:
        described["preprocessing"] = dataclasses.asdict(preprocessing)
    return json.loads(json.dumps(described))


def differing_samples(
    there: Mapping[str, Any], now: Mapping[str, Any], material: Material
) -> Iterator[str]:
    """One line for each way in which the samples of a run differ from those of its start."""
    for role, split in zip(("train", "validation"), material.splits, strict=True):
        yield from _differing_split(there[role]["images"], now[role]["images"], split)
        drawn = [each[role].get("first") for each in (there, now)]
        if None not in drawn and drawn[0] != drawn[1]:
            yield f"split {split.name!r}: images are drawn otherwise, by another version"
    old, new = there.get("preprocessing"), now.get("preprocessing")
    if old is not None and new is not None:
        yield from differing_preprocessing(old, new)


def differing_preprocessing(there: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """One line for each field of how images are prepared that differs."""
    for name in now:
        if name in there and there[name] != now[name]:
            yield f"preprocessing: {name} is {there[name]} there, {now[name]} now"


def differing_words(there: Text, now: Text) -> Iterator[str]:
    """Which ids mean other words now."""
    if there.hash == now.hash:
        return
    pairs = list(itertools.zip_longest(_words(there), _words(now), fillvalue="no word"))
    moved = [f"{n}: {old!r} there, {new!r} now" for n, (old, new) in enumerate(pairs) if old != new]
    yield (
        f"words: {len(moved)} of {len(pairs)} ids mean others, {_listed(moved)}"
        if moved
        else "words: the same ones, read from captions by another rule"
    )


def _differing_split(there: list[Any], now: list[Any], split: Split) -> Iterator[str]:
    old, new = ({row[0]: row[1:] for row in rows} for rows in (there, now))
    gone, added = (
        [key for key in one if key not in other] for one, other in ((old, new), (new, old))
    )
    shared = [key for key in new if key in old]
    captions = dict(zip(new, split.captions, strict=True))
    edited = [
        f"{key} ({' / '.join(captions[key])[:80]} now)"
        for key in shared
        if old[key][2] != new[key][2]
    ]
    replaced = [
        key
        for key in shared
        if old[key][0] != new[key][0]
        or (old[key][1] and new[key][1] and old[key][1] != new[key][1])
    ]
    for keys, text in (
        (gone, "images are there and not here"),
        (added, "images are here and not there"),
        (edited, "images have other captions"),
        (replaced, "images were replaced by others"),
    ):
        if keys:
            yield f"split {split.name!r}: {len(keys)} {text}, {_listed(keys)}"
    if list(old) != list(new) and not gone and not added:
        yield f"split {split.name!r}: the images come in another order"


def _hashes(inputs: Inputs | None) -> dict[str, str]:
    if not isinstance(inputs, FeatureInputs):
        return {}
    return dict(zip(inputs.cache.keys, inputs.cache.images, strict=False))


def _stored(record: Any) -> str:
    return record.content if isinstance(record, Rendered) else ""


def _digest(captions: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(captions)).encode()).hexdigest()[:16]


def _words(text: Text) -> list[str]:
    """Whatever ids mean: an entry an id where they are words, else the digest of all."""
    return list(getattr(text, "entries", (text.hash,)))


def _listed(items: Sequence[str]) -> str:
    more = ", …" if len(items) > NAMED else ""
    return f"e.g. {', '.join(items[:NAMED])}{more}"
