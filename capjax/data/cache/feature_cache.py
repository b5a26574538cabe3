"""Features of a frozen encoder, computed once and read back at random: ArrayRecord files.

A cache is a folder: `manifest.json` says what made the features and of which images, the
`*.array_record` files hold one array [F P D] a record. `feature_writer` makes it.
"""

import concurrent.futures
import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from capjax.data.captions.records import Record
from capjax.runtime.fingerprint import Fingerprint, fingerprint, still

FORMAT = 1
MANIFEST = "manifest.json"


@dataclasses.dataclass(frozen=True)
class Rendered:
    """An image or clip that is drawn when it is asked for, or stored: no file that could change.

    Attributes:
      key: unique in its source and stable.
      content: digest of what is stored; empty where it is drawn.
    """

    key: str
    content: str = ""


def file_bytes(record: Record | Rendered) -> int:
    """Size of the file of a record; 0 where there is no file."""
    return record.image.stat().st_size if isinstance(record, Record) else 0


def content_of(record: Record | Rendered) -> dict[str, Any]:
    """What a cache notes of the file of a record; nothing where there is none."""
    return fingerprint(record.image).to_json() if isinstance(record, Record) else {}


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureCache:
    """Features on disk; picklable, since files are opened on first use in each process.

    Attributes:
      folder: where it lies.
      describe: what made the features, as given to `feature_writer.build_cache`.
      keys: key of the image of each row.
      shape: (F, P, D) of one row.
      shards: (file name, records, bytes) in the order of rows.
      dtype: of the features, "float16" or "float32".
      images: SHA-256 of the file of each row, "" where there is none; empty for caches of older
        versions, which noted the sizes of files alone.
    """

    folder: Path
    describe: Mapping[str, Any]
    keys: tuple[str, ...]
    shape: tuple[int, int, int]
    shards: tuple[tuple[str, int, int], ...]
    dtype: str = "float16"
    images: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self, keys: Sequence[str]) -> np.ndarray:
        """Row of each key [N] int64; absent keys are an error."""
        absent = [key for key in keys if key not in self._row_of]
        if absent:
            raise ValueError(
                f"feature cache {self.folder} lacks {len(absent)} of {len(keys)} images, e.g. "
                f"{absent[:3]}; remove the folder to compute it again, or name another one"
            )
        return np.array([self._row_of[key] for key in keys], np.int64)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Features [B F P D] of the given rows."""
        features = np.empty((len(rows), *self.shape), self.dtype)
        records = self._source.__getitems__([int(row) for row in rows])
        for place, record in enumerate(records):
            features[place] = np.frombuffer(record, self.dtype).reshape(self.shape)
        return features

    @functools.cached_property
    def _row_of(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.keys)}

    @functools.cached_property
    def _source(self) -> Any:
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        # With the number of records given, no file is opened before it is read.
        return ArrayRecordDataSource(
            [f"{self.folder / name}[0:{records}]" for name, records, _ in self.shards]
        )

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def open_cache(
    folder: str | Path,
    *,
    describe: Mapping[str, Any] | None = None,
    records: Sequence[Record | Rendered] = (),
) -> FeatureCache:
    """The complete cache in `folder`.

    Args:
      folder: as given to `feature_writer.build_cache`.
      describe: what the features must have been made by; None takes any.
      records: images that must be in it, with the files they have now.

    Raises:
      FileNotFoundError: no cache there.
      ValueError: a damaged cache, another origin (the differing fields are named), or images that
        are absent or whose files have changed since.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        raise FileNotFoundError(f"no feature cache at {folder}: it has no {MANIFEST}")
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if manifest.get("format") != FORMAT:
        raise ValueError(
            f"feature cache {folder} has format {manifest.get('format')}, this version reads "
            f"{FORMAT}; remove the folder to compute it again"
        )
    if describe is not None:
        _refuse_difference(folder, manifest["describe"], plain(describe))
    cache = FeatureCache(
        folder=folder,
        describe=manifest["describe"],
        keys=tuple(manifest["keys"]),
        shape=tuple(manifest["shape"]),
        shards=tuple((name, count, size) for name, count, size in manifest["shards"]),
        dtype=manifest["dtype"],
        images=tuple(image.get("sha256", "") for image in manifest.get("images", ())),
    )
    for name, _, size in cache.shards:
        path = folder / name
        there = path.stat().st_size if path.is_file() else 0
        if there != size:
            raise ValueError(
                f"{path} has {there} bytes, {MANIFEST} states {size}; remove the folder to "
                "compute it again"
            )
    rows = cache.rows([record.key for record in records])
    same = [
        file_bytes(record) == manifest["image_bytes"][row]
        for record, row in zip(records, rows, strict=True)
    ]
    if cache.images:
        same = unchanged(records, [manifest["images"][row] for row in rows])
    changed = [record.key for record, is_same in zip(records, same, strict=True) if not is_same]
    if changed:
        raise ValueError(
            f"{len(changed)} images have changed since {folder} was computed, e.g. {changed[:3]}; "
            "remove the folder to compute it again"
        )
    return cache


def unchanged(
    records: Sequence[Record | Rendered], noted: Sequence[Mapping[str, Any]]
) -> list[bool]:
    """Whether each file still has the content that `content_of` noted.

    Files with other times than noted are read: all of them where they were copied.
    """

    def is_same(record: Record | Rendered, entry: Mapping[str, Any]) -> bool:
        known = Fingerprint.from_json(entry)
        if known is None or not isinstance(record, Record):
            return known is None and not isinstance(record, Record)
        return still(record.image, known) is not None

    with concurrent.futures.ThreadPoolExecutor() as readers:
        return list(readers.map(is_same, records, noted))


def plain(describe: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back: tuples are lists, keys are strings."""
    return json.loads(json.dumps(describe))


def _refuse_difference(folder: Path, there: Any, wanted: Any) -> None:
    differing = list(_differences(there, wanted, ()))
    if differing:
        raise ValueError(
            f"feature cache {folder} was made otherwise: {'; '.join(differing)}; remove the folder "
            "to compute it again, or name another one"
        )


def _differences(there: Any, wanted: Any, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(there, dict) and isinstance(wanted, dict):
        for name in sorted({*there, *wanted}):
            yield from _differences(there.get(name), wanted.get(name), (*path, name))
    elif there != wanted:
        yield f"{'.'.join(path) or 'all'} is {there!r} there, {wanted!r} is wanted"
