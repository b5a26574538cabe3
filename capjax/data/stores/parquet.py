"""Parquet with images: their bytes, plain or as `datasets` of Hugging Face has them, or paths.

Needs the extra `parquet`. A row cannot be read without those before it in its row group, so rows
are read on in stretches; memory holds a page of the file and a few stretches.
"""

import bisect
import collections
import contextlib
import dataclasses
import functools
import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from capjax.data.stores.beside import AskedColumns, captions_of, metadata_of
from capjax.data.stores.columns import PATH, Columns, find_columns, image_of, is_text
from capjax.data.stores.contract import Metadata
from capjax.data.stores.naming import Naming
from capjax.data.stores.places import Local, Place
from capjax.data.stores.remarks import Remarks

_FIRST = 16
"""Rows by whose content columns are told apart."""
_ROWS = 8
"""Rows of a stretch."""
_STRETCHES = 4
"""Stretches kept: readers side by side ask for neighbours."""
_OPEN = 4
"""Files kept open."""
_BUFFER = 2**20
"""Bytes fetched at once; by default a row group's whole column is."""


@dataclasses.dataclass(frozen=True, eq=False)
class ParquetShard:
    """The rows of one file; a `Shard`.

    Attributes:
      place: of the file.
      columns: which hold what.
      rows: name of an image -> its row.
      paths: name of an image -> the path of its file, where the column of images holds paths.
      captions: see `Shard`.
      written: `Fingerprint.times` of the table's file.
    """

    place: Place
    columns: Columns
    rows: Mapping[str, int]
    paths: Mapping[str, str | None]
    captions: Mapping[str, Sequence[str]]
    written: tuple[int, int] | None

    @property
    def names(self) -> Sequence[str]:
        """See `Shard`."""
        return tuple(self.rows)

    @property
    def damage(self) -> None:
        """See `Shard`: one that is cut cannot be opened."""
        return None

    def times(self, name: str) -> tuple[int, int] | None:
        """See `Shard`."""
        if name in self.paths:
            return self._file(name, self.paths[name]).times()
        return self.written

    def read(self, name: str) -> tuple[bytes, tuple[int, int] | None]:
        """See `Shard`; what a struct only names can change unnoticed, so it has no times."""
        if name in self.paths:
            file = self._file(name, self.paths[name])
            times = file.times()  # first: what changes from here on, the next run notices
            return file.content(), times
        content, path = image_of(self._row(name)[self.columns.image])
        if content is not None:
            return content, self.written
        return self._file(name, path).content(), None

    def metadata(self, name: str) -> Metadata:
        """See `Shard`."""
        if not self.columns.metadata:
            return {}
        row = self._row(name)
        return metadata_of({own: row[own] for own in self.columns.metadata})

    def _file(self, name: str, path: str | None) -> Place:
        if not path:
            raise OSError(f"row {self.rows[name]} has none")
        return self.place.beside(path)

    def _row(self, name: str) -> Mapping[str, Any]:
        return _reader(self).row(self.rows[name])


def read_parquet(place: Place, remarks: Remarks, asked: AskedColumns) -> ParquetShard:
    """The shard of a file: reads names and captions, and no image but the first few.

    Rows without a name are called by their number, from 0.

    Raises:
      OSError: the file cannot be read.
      ValueError: see `find_columns`.
    """
    written = place.times()
    file = _opened(place)
    columns = find_columns(_first_rows(file), asked)
    return ParquetShard(place, columns, *_names(place, file, columns, remarks), written)


def _first_rows(file: pq.ParquetFile) -> pa.Table:
    """Those of the first row group that is whole."""
    damage: OSError | None = None
    for group in range(file.num_row_groups):
        try:
            with _told():
                stretches = file.iter_batches(_FIRST, row_groups=[group], use_threads=False)
                return pa.Table.from_batches(itertools.islice(stretches, 1), file.schema_arrow)
        except OSError as error:
            damage = damage or error
    if damage is not None:
        raise damage
    return file.schema_arrow.empty_table()


def _names(
    place: Place, file: pq.ParquetFile, columns: Columns, remarks: Remarks
) -> tuple[dict[str, int], dict[str, str | None], dict[str, Sequence[str]]]:
    """Of all rows: name -> row, name -> path where the images are paths, name -> captions."""
    naming = Naming(place.name, remarks)
    kind = file.schema_arrow.field(columns.image).type
    linked = is_text(kind)
    needed = [*columns.captions, *([columns.image] if linked else [])]
    if columns.name == columns.image and not linked:
        needed.append(f"{columns.image}.{PATH}")
    elif columns.name is not None:
        needed.append(columns.name)
    rows: dict[str, int] = {}
    paths: dict[str, str | None] = {}
    captions: dict[str, Sequence[str]] = {}
    for number, row in enumerate(_rows(file, list(dict.fromkeys(needed)))):
        written = None if columns.name is None else row[columns.name]
        if isinstance(written, Mapping):
            written = written[PATH]
        name = naming.add("" if written is None else str(written), f"{number:06d}")
        rows[name] = number
        if linked:
            paths[name] = row[columns.image]
        if said := captions_of(row, columns.captions):
            captions[name] = said
    return rows, paths, captions


def _rows(file: pq.ParquetFile, columns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Some columns of all rows."""
    if not columns:
        yield from itertools.repeat({}, file.metadata.num_rows)
        return
    with _told():
        for batch in file.iter_batches(columns=columns, use_threads=False):
            yield from batch.to_pylist()


class _Reader:
    """Reads rows in about the order of the file."""

    def __init__(self, shard: ParquetShard) -> None:
        self._file = _opened(shard.place)
        self._columns = [shard.columns.image, *shard.columns.metadata]
        groups = range(self._file.num_row_groups)
        sizes = (self._file.metadata.row_group(group).num_rows for group in groups)
        self._starts = [0, *itertools.accumulate(sizes)]
        self._lock = threading.Lock()
        self._kept = collections.deque[tuple[int, pa.RecordBatch]](maxlen=_STRETCHES)
        self._group, self._next = -1, 0
        self._stretches: Iterator[pa.RecordBatch] = iter(())
        self._damaged: dict[int, tuple[int, OSError]] = {}

    def row(self, number: int) -> Mapping[str, Any]:
        """One row; OSError where it, or one before it in its group, is damaged."""
        with self._lock:
            for start, stretch in self._kept:
                if start <= number < start + stretch.num_rows:
                    return stretch.slice(number - start, 1).to_pylist()[0]
            group = bisect.bisect_right(self._starts, number) - 1
            first, damage = self._damaged.get(group, (number + 1, OSError()))
            if number >= first:
                raise damage
            if group != self._group or number < self._next:
                self._go_to(group)
            try:
                return self._read_on(number)
            except OSError as error:
                self._damaged[group] = self._next, error
                self._group = -1
                raise

    def _go_to(self, group: int) -> None:
        self._group, self._next = group, self._starts[group]
        self._stretches = self._file.iter_batches(
            _ROWS, row_groups=[group], columns=self._columns, use_threads=False
        )

    def _read_on(self, number: int) -> Mapping[str, Any]:
        with _told():
            for stretch in self._stretches:
                start, self._next = self._next, self._next + stretch.num_rows
                self._kept.append((start, stretch))
                if number < self._next:
                    return stretch.slice(number - start, 1).to_pylist()[0]
        raise OSError("the file was written while it was read; run again")


@functools.lru_cache(_OPEN)
def _reader(shard: ParquetShard) -> _Reader:
    return _Reader(shard)


def _opened(place: Place) -> pq.ParquetFile:
    source = place.path if isinstance(place, Local) else place.stream()
    with _told():
        return pq.ParquetFile(source, buffer_size=_BUFFER, pre_buffer=False)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Damage, however the library calls it, is an OSError that says what to do."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise OSError(f"damaged Parquet ({error}); write or fetch it again") from error
