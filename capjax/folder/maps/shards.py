"""Reads maps back from shards, and from the rows that no shard holds yet."""

import collections
import pathlib
import threading

from capjax.folder.maps.arrays import Arrays, explanations_of
from capjax.folder.maps.manifest import FOLDER, Shard, read_manifest
from capjax.folder.maps.packed import unpack
from capjax.folder.maps.rows import OpenShard, Row, ShardFormat
from capjax.folder.names import fitting
from capjax.folder.records import Result
from capjax.runtime.fingerprint import sha256_of
from capjax.types import Explanation

PENDING = "pending"
"""Folder, below that of the shards, of rows that no shard holds yet."""
MOST_OPEN = 4
"""Shards that stay open."""


class ShardReader:
    """Maps of pictures in shards; any thread may read.

    Args:
      folder: of the results.
      kind: of the shards.
    """

    def __init__(self, folder: pathlib.Path, kind: ShardFormat) -> None:
        self._folder, self._kind = folder, kind
        self._shards: dict[str, Shard] = {}
        self._opened: collections.OrderedDict[str, tuple[OpenShard, dict[str, int]]]
        self._opened = collections.OrderedDict()
        self._lock = threading.RLock()

    def read(self, result: Result) -> list[dict[str, Explanation]]:
        """See `MapReader`."""

        def arrays_at(place: str) -> Arrays:
            return unpack(self.row(place, result.file).arrays)

        return explanations_of(result.answers, arrays_at)

    def thumbnail(self, result: Result) -> bytes:
        """See `MapReader`."""
        place = next(iter(result.answers[0].methods.values())).maps
        return self.row(place, result.file).thumbnail

    def problem(self, place: str) -> str | None:
        """Why a shard is not what was written, by its digest."""
        try:
            shard = self._shard(place)
        except ValueError as error:
            return str(error)
        if shard is None:
            return None  # its rows are files, which have checksums of their own
        path = self._folder / place
        if not path.exists():
            return f"{place} is gone"
        same = path.stat().st_size == shard.bytes and sha256_of(path) == shard.sha256
        return None if same else f"{place} has another digest than the manifest says"

    def row(self, place: str, file: str) -> Row:
        """The row of an image in a shard, or what will become one.

        Raises:
          one of `UNREADABLE`: it is damaged or gone.
        """
        with self._lock:
            if self._shard(place) is None:
                try:
                    return Row.from_bytes(self._pending_path(file).read_bytes())
                except FileNotFoundError:  # a shard since, of a run that is writing
                    self._shards = read_manifest(self._folder)
                    if place not in self._shards:
                        raise
            opened, numbers = self._open(place)
            if file not in numbers:
                raise ValueError(f"{place} has no row of it")
            row = opened.row(numbers[file])
        if row.file != file:
            raise ValueError(f"row {numbers[file]} of {place} is of {row.file!r}")
        return row

    def files(self, place: str) -> set[str]:
        """The images in a shard that is whole."""
        with self._lock:
            return set(self._open(place)[1])

    def close(self, place: str) -> None:
        """Closes a shard that will be another file, or none."""
        with self._lock:
            if place in self._opened:
                self._opened.pop(place)[0].close()

    def _shard(self, place: str) -> Shard | None:
        if place not in self._shards:
            self._shards = read_manifest(self._folder)
        return self._shards.get(place)

    def _open(self, place: str) -> tuple[OpenShard, dict[str, int]]:
        if place in self._opened:
            self._opened.move_to_end(place)
            return self._opened[place]
        opened = self._kind.open(str(self._folder / place))
        files = opened.files
        if len(files) != self._shards[place].rows:
            opened.close()
            rows = self._shards[place].rows
            raise ValueError(f"{place} has {len(files)} rows, the manifest says {rows}")
        self._opened[place] = opened, {file: number for number, file in enumerate(files)}
        if len(self._opened) > MOST_OPEN:
            self._opened.popitem(last=False)[1][0].close()
        return self._opened[place]

    def _pending_path(self, file: str) -> pathlib.Path:
        return self._folder / FOLDER / PENDING / fitting(file, ".npz")
