"""Files with addresses (`gs://`, `s3://`, `https://`, `memory://` …), by fsspec.

The extra `remote` installs fsspec; each kind of store needs its own package beside it (gcsfs, s3fs
…), which takes credentials from the environment or from fsspec's settings.
"""

import contextlib
import dataclasses
import io
import posixpath
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from capjax.data.pictures.opening import in_memory
from capjax.runtime.files import is_address, printable
from capjax.runtime.fingerprint import Fingerprint, of_content, still_content, version
from capjax.runtime.folders import is_foreign

_CHECKSUMS = ("ETag", "etag", "md5Hash", "md5", "content_md5", "crc32c", "generation")
_MOMENTS = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")
"""How stores call what tells versions of a file apart; a checksum is the better mark."""
_BUFFER = 2**20


@dataclasses.dataclass(frozen=True)
class Remote:
    """A file of a store; a `capjax.data.stores.places.Place`.

    Attributes:
      system: fsspec's file system.
      path: within it.
    """

    system: Any
    path: str

    def __str__(self) -> str:
        return printable(self.system.unstrip_protocol(self.path))

    @property
    def name(self) -> str:
        """See `Place`."""
        return posixpath.basename(self.path)

    @property
    def folder(self) -> str:
        """See `Place`."""
        return posixpath.dirname(self.path)

    def beside(self, path: str) -> "Remote":
        """See `Place`; of an address what has it."""
        if is_address(path):
            return remote(path)
        joined = posixpath.normpath(posixpath.join(posixpath.dirname(self.path), path))
        return dataclasses.replace(self, path=joined)

    def image(self) -> BinaryIO:
        """See `Place`: the whole content."""
        return in_memory(self.content(), str(self))

    def read(self) -> tuple[BinaryIO, Fingerprint]:
        """See `Place`."""
        times, content = self.times(), self.content()
        return in_memory(content, str(self)), of_content(content, times)

    def still(self, known: Fingerprint) -> Fingerprint | None:
        """See `Place`."""
        if self.size() != known.bytes:
            return None
        try:
            return still_content(known, self.times(), lambda: self.read()[1])
        except OSError:
            return None

    def size(self) -> int:
        """See `Place`."""
        try:
            return int(self._info()["size"])
        except (OSError, KeyError, TypeError):
            return -1

    def times(self) -> tuple[int, int] | None:
        """See `Place`."""
        info = self._info()
        for marks in (_CHECKSUMS, _MOMENTS):
            told = [f"{mark}={info[mark]}" for mark in marks if info.get(mark)]
            if told:
                return version(f"{info.get('size')} {told[0]}")
        return None

    def content(self, start: int = 0, length: int | None = None) -> bytes:
        """See `Place`."""
        with self.reading():
            end = None if length is None else start + length
            return cast(bytes, self.system.cat_file(self.path, start=start, end=end))

    def stream(self) -> BinaryIO:
        """See `Place`."""
        with self.reading():
            return io.BufferedReader(_Stream(self, self.system.open(self.path, "rb")), _BUFFER)

    def below(self) -> list[str] | None:
        """Paths of all files of this folder, from the folder on; None where it is no folder."""
        with self.reading():
            if not self.system.isdir(self.path):
                return None
            start = len(self.path.rstrip("/")) + 1
            return [path[start:] for path in sorted(self.system.find(self.path))]

    def fitting(self) -> list["Remote"]:
        """What is there of this path, taken for a pattern: files and folders in order."""
        with self.reading():
            if self.system.exists(self.path):
                return [self]
            there = sorted(self.system.glob(self.path))
        found = [dataclasses.replace(self, path=path) for path in there]
        return [place for place in found if not is_foreign(place.name)]

    def _info(self) -> dict[str, Any]:
        with self.reading():
            return cast(dict[str, Any], self.system.info(self.path))

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Whatever goes wrong with the file is an OSError that names it."""
        try:
            yield
        except FileNotFoundError as error:
            raise FileNotFoundError(f"cannot read {self}: there is no such file") from error
        except Exception as error:  # packages of stores raise kinds of their own
            raise OSError(f"cannot read {self}: {type(error).__name__}: {error}") from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """As `reading`, of what is put there."""
        try:
            yield
        except Exception as error:
            raise OSError(f"cannot write to {self}: {type(error).__name__}: {error}") from error


class _Stream(io.RawIOBase):
    """A file as fsspec opens it, whose errors are those of `Remote.reading`."""

    def __init__(self, place: Remote, file: Any) -> None:
        self._place, self._file = place, file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._place.reading():
            content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with self._place.reading():
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def remote(address: str) -> Remote:
    """What has an address.

    Raises:
      ImportError: fsspec, or the package of this kind of store, is missing.
      ValueError: no kind of address that fsspec opens.
    """
    try:
        import fsspec
    except ImportError as error:
        raise ImportError(
            f"{address} is opened by fsspec; install it with: pip install 'capjax[remote]'"
        ) from error
    try:
        return Remote(*fsspec.core.url_to_fs(address))
    except ImportError as error:
        raise ImportError(f"{address} needs the package of its store: {error}") from error
    except ValueError as error:
        raise ValueError(
            f"{address} is no address that fsspec opens ({error}); give a path of this machine, or "
            "an address such as gs://bucket/folder or s3://bucket/folder"
        ) from error
