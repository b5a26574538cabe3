"""One file by its path or address: the only code that fetches bytes."""

import dataclasses
import os
import pathlib
from typing import BinaryIO, Protocol

from capjax.data.pictures.opening import ImageFile
from capjax.data.stores.remote import remote
from capjax.runtime.files import is_address, printable
from capjax.runtime.fingerprint import Fingerprint, fingerprint, still, times_of


class Place(Protocol):
    """One file; as text it is what errors call it. What cannot be read is an OSError."""

    @property
    def name(self) -> str:
        """Its last name."""
        ...

    @property
    def folder(self) -> str:
        """Where it lies: an absolute path of this machine or of its store."""
        ...

    def beside(self, path: str) -> "Place":
        """The file of a path that starts from the folder of this one; or of an absolute one."""
        ...

    def image(self) -> ImageFile:
        """The file as a picture, to be decoded."""
        ...

    def read(self) -> tuple[ImageFile, Fingerprint]:
        """See `Store.read`."""
        ...

    def still(self, known: Fingerprint) -> Fingerprint | None:
        """See `Store.still`."""
        ...

    def size(self) -> int:
        """Bytes of the file, -1 when it is gone."""
        ...

    def times(self) -> tuple[int, int] | None:
        """See `Fingerprint`."""
        ...

    def content(self, start: int = 0, length: int | None = None) -> bytes:
        """Some bytes of the file, or all; fewer where it ends before."""
        ...

    def stream(self) -> BinaryIO:
        """The file, to be read from its beginning; seekable."""
        ...


@dataclasses.dataclass(frozen=True)
class Local:
    """A file of this machine; a `Place`."""

    path: pathlib.Path

    def __str__(self) -> str:
        return printable(self.path)

    @property
    def name(self) -> str:
        """See `Place`."""
        return self.path.name

    @property
    def folder(self) -> str:
        """See `Place`."""
        return str(self.path.parent.resolve())

    def beside(self, path: str) -> Place:
        """See `Place`; of an address what has it."""
        return remote(path) if is_address(path) else Local(self.path.parent / path)

    def image(self) -> pathlib.Path:
        """See `Place`: the path, of which a decoder reads what it needs."""
        return self.path

    def read(self) -> tuple[pathlib.Path, Fingerprint]:
        """See `Place`."""
        return self.path, fingerprint(self.path)  # first: what changes later, the next run notices

    def still(self, known: Fingerprint) -> Fingerprint | None:
        """See `Place`."""
        return still(self.path, known)

    def size(self) -> int:
        """See `Place`."""
        try:
            return self.path.stat().st_size
        except OSError:
            return -1

    def times(self) -> tuple[int, int] | None:
        """See `Place`."""
        return times_of(self.path)

    def content(self, start: int = 0, length: int | None = None) -> bytes:
        """See `Place`."""
        with open(self.path, "rb") as stream:
            stream.seek(start)
            return stream.read(-1 if length is None else length)

    def stream(self) -> BinaryIO:
        """See `Place`."""
        return open(self.path, "rb")


def place_of(given: str | os.PathLike[str]) -> Place:
    """The place that a path or an address means; errors are those of `remote`."""
    text = os.fspath(given)
    return remote(text) if is_address(text) else Local(pathlib.Path(text))
