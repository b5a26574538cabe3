"""Shards as ArrayRecord files: each record is the content of an .npz file, see `rows`."""

from collections.abc import Iterable
from typing import Any

from capjax.folder.maps.rows import Row, file_of

WRITER_OPTIONS = "group_size:1,zstd:1"
"""One record a chunk, so that a random read decompresses nothing else."""
READER_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"


class ArrayRecord:
    """Rows as records."""

    SUFFIX = "array_record"

    def check(self) -> None:
        """See `ShardFormat`."""
        _module()

    def write(self, path: str, rows: Iterable[Row]) -> None:
        """See `ShardFormat`."""
        writer = _module().ArrayRecordWriter(path, WRITER_OPTIONS)
        try:
            for row in rows:
                writer.write(row.to_bytes())
        finally:
            writer.close()

    def open(self, path: str) -> "_OpenArrayRecord":
        """See `ShardFormat`."""
        return _OpenArrayRecord(path)


class _OpenArrayRecord:
    """One file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._reader: Any = None

    @property
    def files(self) -> list[str]:
        """See `OpenShard`."""
        reader = self._opened()
        return [file_of(self._content(number)) for number in range(reader.num_records())]

    def row(self, number: int) -> Row:
        """See `OpenShard`."""
        return Row.from_bytes(self._content(number))

    def close(self) -> None:
        """See `OpenShard`."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _content(self, number: int) -> bytes:
        reader = self._opened()
        try:
            reader.seek(number)
            return reader.read()
        except (RuntimeError, IndexError) as error:  # after which it reads nothing more
            self._reader = None
            raise RuntimeError(f"record {number} cannot be read: {error}") from error

    def _opened(self) -> Any:
        if self._reader is None:
            self._reader = _module().ArrayRecordReader(self._path, READER_OPTIONS)
        return self._reader


def _module() -> Any:
    try:
        from array_record.python import array_record_module
    except ImportError as error:
        raise ImportError(
            "ArrayRecord shards need array_record, which this system has not (there is none for "
            "Windows); choose --format=parquet or files"
        ) from error
    return array_record_module
