"""Computes a feature cache: resumable, and visible under its name only when it is complete."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from capjax.data.batches.pipeline import Batch, Inputs, Loading, evaluation_batches
from capjax.data.batches.unreadable import TolerantInputs, problem_of, refuse_more
from capjax.data.cache.feature_cache import (
    FORMAT,
    MANIFEST,
    FeatureCache,
    Rendered,
    content_of,
    file_bytes,
    open_cache,
    plain,
    unchanged,
)
from capjax.data.captions.records import Record
from capjax.runtime import locks
from capjax.runtime.files import replacing

PLAN, SHAPE = "plan.json", "shape.json"
WRITER_OPTIONS = "group_size:1,zstd:1"
"""One record a chunk, so that a random read decompresses nothing else. On 14×14×512 MobileNet maps
zstd halves the files (104 instead of 202 kB a photograph) and 64 of them are read in 12 ms instead
of 4: either way a few per cent of a training step on the processor that reads them."""


def build_cache(
    folder: str | Path,
    records: Sequence[Record | Rendered],
    encode: Callable[[np.ndarray], np.ndarray],
    *,
    inputs: Inputs,
    describe: Mapping[str, Any],
    batch_size: int = 32,
    shard_records: int = 1024,
    loading: Loading | None = None,
    unreadable: int = 0,
    dtype: str = "float16",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> FeatureCache:
    """The cache in `folder`, computed first where it is not there yet.

    An interrupted computation goes on after its last complete file, if it was of the same images
    and origin, else it starts again. A second process that wants the same cache waits for it.

    Args:
      folder: parent folders are made.
      records: the images; features are stored in their order.
      encode: images [B H W 3] or clips [B F H W 3], uint8 → features [B F P D]; always called with
        `batch_size` of them.
      inputs: gives `image` for numbers of `records`.
      describe: JSON-able: encoder, weights' sha256, preprocessing, layer, grid. Compared whole.
      batch_size: images of one call of `encode`.
      shard_records: images of one file, rounded up to whole batches.
      loading: threads or processes that decode images.
      unreadable: how many images may be impossible to decode; their features are NaN.
      dtype: as which features are stored, "float16" or "float32".
      progress: called with (images done, images in all).

    Raises:
      ValueError: what is there has another origin or other images (see `open_cache`), features
        that are not [B F P D], or that `dtype` cannot hold, or more than `unreadable` images that
        cannot be decoded (they are named).
    """
    folder = Path(folder)
    if not records:
        raise ValueError(f"no images to compute {folder} from; is the split empty?")
    if not folder.exists():  # a complete one needs no lock, and may lie where nobody writes
        with locks.held(folder.with_name(folder.name + ".lock"), wait=True):
            if not folder.exists():
                plan = {
                    "format": FORMAT,
                    "describe": plain(describe),
                    "dtype": dtype,
                    "shard_records": -(-shard_records // batch_size) * batch_size,
                    "keys": [record.key for record in records],
                    "image_bytes": [file_bytes(record) for record in records],
                }
                partial = folder.with_name(folder.name + ".partial")
                done = _resume(partial, plan, records)
                progress(done, len(records))
                batches = evaluation_batches(
                    TolerantInputs(inputs, len(records)) if unreadable else inputs,
                    len(records),
                    batch_size=batch_size,
                    start=done // batch_size,
                    loading=loading,
                )
                problems = _Problems(inputs, unreadable, len(records), dtype)
                encoded = (problems.marked(encode(batch["image"]), batch) for batch in batches)
                _write_shards(partial, plan, records, encoded, done, progress)
                _finish(partial, plan)
                partial.rename(folder)
                for path in (folder / PLAN, folder / SHAPE, *folder.glob("images-*.json")):
                    path.unlink()
    return open_cache(folder, describe=describe, records=records)


@dataclasses.dataclass
class _Problems:
    """Images that could not be decoded so far."""

    inputs: Inputs
    allowed: int
    images: int
    dtype: str
    texts: list[str] = dataclasses.field(default_factory=list)

    def marked(self, features: np.ndarray, batch: Batch) -> np.ndarray:
        """Features of a batch's images, without the rows that fill it up; NaN for an image that
        cannot be decoded, which is noted."""
        features = _stored(features, self.dtype)
        readable = batch.get("readable", batch["mask"])
        for number in batch["index"][batch["mask"] & ~readable]:
            text = problem_of(self.inputs, int(number)) or f"image {number}"
            self.texts.append(text)
            logging.warning("%s; the run goes on without it", text)
            refuse_more(self.texts, allowed=self.allowed, images=self.images)
        features[~readable] = np.nan
        return features[batch["mask"]]


def _shard_name(number: int) -> str:
    return f"features-{number:05d}.array_record"


def _images_name(number: int) -> str:
    """What is noted of the images of a file, until all of them are complete."""
    return f"images-{number:05d}.json"


def _resume(partial: Path, plan: dict[str, Any], records: Sequence[Record | Rendered]) -> int:
    """Prepares `partial` and returns how many images its complete files already hold.

    A file counts up to the first one with an image that has changed since.
    """
    try:
        same = json.loads((partial / PLAN).read_text(encoding="utf-8")) == plan
    except (OSError, ValueError):
        same = False
    if not same:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        (partial / PLAN).write_text(json.dumps(plan), encoding="utf-8")
        return 0
    number, size = 0, plan["shard_records"]
    while (partial / _shard_name(number)).is_file() and (partial / _images_name(number)).is_file():
        noted = json.loads((partial / _images_name(number)).read_text(encoding="utf-8"))
        if not all(unchanged(records[number * size : (number + 1) * size], noted)):
            break
        number += 1
    return min(number * size, len(records))


def _write_shards(
    partial: Path,
    plan: dict[str, Any],
    records: Sequence[Record | Rendered],
    encoded: Iterator[np.ndarray],
    done: int,
    progress: Callable[[int, int], None],
) -> None:
    """Writes features from image `done` on; a file gets its name when it is complete."""
    from array_record.python.array_record_module import ArrayRecordWriter

    total, shard_records = len(plan["keys"]), plan["shard_records"]
    while done < total:
        number = done // shard_records
        path = partial / _shard_name(number)
        writing = path.with_suffix(".writing")
        end = min(done + shard_records, total)
        writer = ArrayRecordWriter(str(writing), WRITER_OPTIONS)
        noted: list[dict[str, Any]] = []
        while done < end:
            features = next(encoded)
            if done == 0:
                (partial / SHAPE).write_text(json.dumps(features.shape[1:]), encoding="utf-8")
            for row in features:
                writer.write(row.tobytes())
            # Just decoded, they are still in the system's memory.
            noted += [content_of(record) for record in records[done : done + len(features)]]
            done += len(features)
            progress(done, total)
        writer.close()
        with replacing(partial / _images_name(number)) as stream:
            stream.write(json.dumps(noted).encode())
        writing.rename(path)


def _stored(features: np.ndarray, dtype: str) -> np.ndarray:
    """A copy of features [B F P D] as `dtype`, or an error where that loses them."""
    features = np.asarray(features)
    if features.ndim != 4:
        raise ValueError(f"encode gave shape {features.shape}; expected [B F P D]")
    with np.errstate(over="ignore"):
        stored = features.astype(dtype)
    if not np.isfinite(stored).all():
        raise ValueError(
            f"features reach {np.abs(features).max():g}, {dtype} holds {np.finfo(dtype).max:g} at "
            "most; is the image normalised, are the encoder's weights whole?"
        )
    return stored


def _finish(partial: Path, plan: dict[str, Any]) -> None:
    """Writes the manifest, the last file of a complete cache."""
    total, shard_records = len(plan["keys"]), plan["shard_records"]
    shards, images = [], []
    for start in range(0, total, shard_records):
        number = start // shard_records
        name = _shard_name(number)
        size = (partial / name).stat().st_size
        shards.append([name, min(shard_records, total - start), size])
        images += json.loads((partial / _images_name(number)).read_text(encoding="utf-8"))
    manifest = {
        "format": FORMAT,
        "describe": plan["describe"],
        "dtype": plan["dtype"],
        "shape": json.loads((partial / SHAPE).read_text(encoding="utf-8")),
        "shards": shards,
        "keys": plan["keys"],
        "image_bytes": plan["image_bytes"],  # what older versions compare
        "images": images,
    }
    with replacing(partial / MANIFEST) as stream:
        stream.write(json.dumps(manifest, indent=1).encode())
