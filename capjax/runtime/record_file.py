"""A file of records, one line each as JSON, that stays whole when its process dies.

Lines are appended whole; one that a dying process tore is dropped by the next. The last whole line
of a name counts.
"""

import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, Protocol, TypeVar

from capjax.runtime.files import replacing


class Record(Protocol):
    """What is stored: something about one file."""

    @property
    def file(self) -> str:
        """Its name among the records."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Plain values, `file` among them."""
        ...


Stored = TypeVar("Stored", bound=Record)


class RecordFile(Generic[Stored]):
    """Records by name, opened for appending; one process at a time, which holds a lock.

    Args:
      path: of the file; made where missing.
      parse: makes a record of a line's values; KeyError, TypeError, ValueError or AttributeError
        for what is none, which is dropped.
      seen: takes each record that counts from now on, those in the file first.
    """

    def __init__(
        self,
        path: pathlib.Path,
        parse: Callable[[Mapping[str, Any]], Stored],
        seen: Callable[[Stored], None] = lambda record: None,
    ) -> None:
        self._path, self._own, self._seen = path, parse, seen
        self._descriptor = -1
        self._offsets: dict[str, int] = {}
        self._index()
        self.compact()
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def _index(self) -> None:
        """Reads which names there are."""
        if not self._path.exists():
            return
        with open(self._path, "rb") as stream:
            offset = 0
            for raw in stream:
                record = self._parse(raw)
                if record is not None:
                    self._offsets[record.file] = offset
                    self._seen(record)
                offset += len(raw)

    def __contains__(self, name: str) -> bool:
        return name in self._offsets

    def __iter__(self) -> Iterator[str]:
        return iter(self._offsets)

    def compact(self) -> None:
        """Rewrites the file with exactly one line a name, sorted by name."""
        if not self._path.exists():
            return
        moved: dict[str, int] = {}
        with open(self._path, "rb") as old, replacing(self._path) as new:
            for name in sorted(self._offsets):
                old.seek(self._offsets[name])
                moved[name] = new.tell()
                new.write(old.readline())
        self._offsets = moved

    def append(self, record: Stored) -> None:
        """Adds a record."""
        raw = (json.dumps(record.to_json()) + "\n").encode()
        start = os.lseek(self._descriptor, 0, os.SEEK_END)
        try:
            written = 0
            while written < len(raw):  # on a full disk, less than asked for
                written += os.write(self._descriptor, raw[written:])
        except OSError:
            os.ftruncate(self._descriptor, start)
            raise
        self._offsets[record.file] = start
        self._seen(record)

    def read(self, name: str) -> Stored:
        """The record of a name that is there."""
        with open(self._path, "rb") as stream:
            stream.seek(self._offsets[name])
            record = self._parse(stream.readline())
        assert record is not None, f"{self._path.name} was changed while this run uses it"
        return record

    def finish(self) -> None:
        """Leaves one line a name behind; nothing is appended after it."""
        self.close()
        self.compact()

    def close(self) -> None:
        """Appends nothing any more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _parse(self, raw: bytes) -> Stored | None:
        """A record, or None for a line that is torn or no record."""
        if not raw.endswith(b"\n"):
            return None
        try:
            value = json.loads(raw)
            return self._own(value) if isinstance(value["file"], str) else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


def read_description(folder: pathlib.Path, name: str, records: str) -> dict[str, Any]:
    """What a folder's file of settings says; empty where there is none yet.

    Args:
      folder: of results.
      name: of the file of settings.
      records: name of the file of records, which has no meaning without the settings.

    Raises:
      ValueError: the file is damaged, or there are records without it.
    """
    path = folder / name
    if not path.exists():
        if (folder / records).exists():
            raise ValueError(f"{folder} has {records} but no {name}; choose another folder")
        return {}
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); choose another folder") from error


def write_description(folder: pathlib.Path, name: str, values: Mapping[str, Any]) -> None:
    """Replaces a folder's file of settings."""
    with replacing(folder / name) as stream:
        stream.write((json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode())
