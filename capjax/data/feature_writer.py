"""Computes a feature cache: resumable, and visible under its name only when it is complete."""

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from capjax.data.feature_cache import (
    FORMAT,
    MANIFEST,
    FeatureCache,
    Rendered,
    file_bytes,
    open_cache,
    plain,
)
from capjax.data.pipeline import Batch, Inputs, Loading, evaluation_batches
from capjax.data.records import Record
from capjax.data.unreadable import TolerantInputs, problem_of, refuse_more

try:
    import fcntl
except ImportError:  # Windows has no advisory locks
    fcntl = None  # type: ignore[assignment]

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
      unreadable: images that may be impossible to decode; their features are not numbers.
      dtype: as which features are stored, "float16" or "float32".
      progress: called with (images done, images in all).

    Raises:
      ValueError: what is there has another origin or other images (see `open_cache`), features
        that are not [B F P D], or that `dtype` cannot hold; more images than may be cannot be
        decoded (they are named).
    """
    folder = Path(folder)
    if not records:
        raise ValueError(f"no images to compute {folder} from; is the split empty?")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_name(folder.name + ".lock")):
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
            done = _resume(partial, plan)
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
            _write_shards(partial, plan, encoded, done, progress)
            _finish(partial, plan)
            partial.rename(folder)
            for name in (PLAN, SHAPE):
                (folder / name).unlink()
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
        """Features of a batch's images, without the rows that fill it up; not numbers where an
        image cannot be decoded, which is noted."""
        features = _stored(features, self.dtype)
        readable = batch.get("readable", batch["mask"])
        for number in batch["index"][batch["mask"] & ~readable]:
            text = problem_of(self.inputs, int(number)) or f"image {number}"
            self.texts.append(text)
            logging.warning("%s; the run goes on without it", text)
            refuse_more(self.texts, allowed=self.allowed, images=self.images)
        features[~readable] = np.nan
        return features[batch["mask"]]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds an advisory lock on `path`; waits while another process holds it."""
    with open(path, "w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _shard_name(number: int) -> str:
    return f"features-{number:05d}.array_record"


def _resume(partial: Path, plan: dict[str, Any]) -> int:
    """Prepares `partial` and returns how many images its complete files already hold."""
    plan_file = partial / PLAN
    try:
        same = json.loads(plan_file.read_text(encoding="utf-8")) == plan
    except (OSError, ValueError):
        same = False
    if not same:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        plan_file.write_text(json.dumps(plan), encoding="utf-8")
        return 0
    number = 0
    while (partial / _shard_name(number)).is_file():
        number += 1
    return min(number * plan["shard_records"], len(plan["keys"]))


def _write_shards(
    partial: Path,
    plan: dict[str, Any],
    encoded: Iterator[np.ndarray],
    done: int,
    progress: Callable[[int, int], None],
) -> None:
    """Writes features from image `done` on; a file gets its name when it is complete."""
    from array_record.python.array_record_module import ArrayRecordWriter

    total, shard_records = len(plan["keys"]), plan["shard_records"]
    while done < total:
        path = partial / _shard_name(done // shard_records)
        writing = path.with_suffix(".writing")
        end = min(done + shard_records, total)
        writer = ArrayRecordWriter(str(writing), WRITER_OPTIONS)
        while done < end:
            features = next(encoded)
            if done == 0:
                (partial / SHAPE).write_text(json.dumps(features.shape[1:]), encoding="utf-8")
            for row in features:
                writer.write(row.tobytes())
            done += len(features)
            progress(done, total)
        writer.close()
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
    shards = []
    for start in range(0, total, shard_records):
        name = _shard_name(start // shard_records)
        size = (partial / name).stat().st_size
        shards.append([name, min(shard_records, total - start), size])
    manifest = {
        "format": FORMAT,
        "describe": plan["describe"],
        "dtype": plan["dtype"],
        "shape": json.loads((partial / SHAPE).read_text(encoding="utf-8")),
        "shards": shards,
        "keys": plan["keys"],
        "image_bytes": plan["image_bytes"],
    }
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
