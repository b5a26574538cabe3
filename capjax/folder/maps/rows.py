"""One image of a shard, and as bytes: the content of an .npz file, as `numpy.load` reads it."""

import dataclasses
import io
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from capjax.folder.maps.arrays import Arrays
from capjax.folder.maps.npz import from_npz

_OWN = ("name", "record", "thumbnail")


@dataclasses.dataclass(frozen=True)
class Row:
    """One image.

    Attributes:
      file: its name.
      record: its line of results.jsonl when the shard was closed, as JSON.
      thumbnail: a JPEG file.
      arrays: packed, of the methods whose maps are in the shard.
    """

    file: str
    record: str
    thumbnail: bytes
    arrays: Arrays

    def to_bytes(self) -> bytes:
        """The content of an .npz file: `arrays`, and `name`, `record` and `thumbnail`."""
        stream = io.BytesIO()
        own: dict[str, Any] = {
            "name": np.array(self.file),
            "record": np.array(self.record),
            "thumbnail": np.frombuffer(self.thumbnail, np.uint8),
        }
        np.savez(stream, **{**self.arrays, **own})
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Row":
        """The inverse of `to_bytes`."""
        arrays = from_npz(content)
        file, record, thumbnail = (arrays.pop(own) for own in _OWN)
        return cls(str(file), str(record), thumbnail.tobytes(), arrays)


def file_of(content: bytes) -> str:
    """The name in the bytes of a row; nothing else is decoded."""
    return str(from_npz(content, only="name")["name"])


class OpenShard(Protocol):
    """A shard, opened; one thread at a time."""

    @property
    def files(self) -> list[str]:
        """The name of each row."""
        ...

    def row(self, number: int) -> Row:
        """One row.

        Raises:
          one of `UNREADABLE`: it is damaged.
        """
        ...

    def close(self) -> None:
        """Reads nothing any more."""
        ...


class ShardFormat(Protocol):
    """A kind of file that holds rows.

    Attributes:
      SUFFIX: of its files, without the dot.
    """

    SUFFIX: str

    def check(self) -> None:
        """Raises ImportError where its library is missing."""
        ...

    def write(self, path: str, rows: Iterable[Row]) -> None:
        """Writes a shard, a few rows in memory at a time."""
        ...

    def open(self, path: str) -> OpenShard:
        """Opens a shard."""
        ...
