"""Whether a file still has the content that something was made from.

A digest of the content decides. It is computed when the content is read anyway; afterwards a file
whose size and times are as they were is taken for unchanged, so that looking at 100,000 files
costs no more than asking for their times.

What lies in a shard has the digest of its own bytes and the times of the shard's file: where that
was written since, its images are read once, and stay done if they are the same.
"""

import dataclasses
import hashlib
import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from capjax.runtime.files import printable

_TICK = 2_000_000_000
"""Nanoseconds within which a second write may leave the same times, on the coarsest clock."""


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """The content of a file at one moment.

    Attributes:
      bytes: its size.
      sha256: of its content.
      times: when content and, second, anything about the file last changed, in nanoseconds: a
        copy that keeps the first has another second one. Of what lies in a shard those of the
        shard's file; of what has an address 0 and a number that is another one for each version,
        see `version`. None where the file was so new that a later write might have left the same
        times, or where nothing tells versions apart.
    """

    bytes: int
    sha256: str
    times: tuple[int, int] | None

    def to_json(self) -> dict[str, Any]:
        """Plain values, for `from_json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Fingerprint | None":
        """The fingerprint among the entries of `value`; None where older versions left none."""
        if "sha256" not in value:
            return None
        times = value.get("times")
        return cls(value["bytes"], value["sha256"], None if times is None else tuple(times))


def version(marks: str) -> tuple[int, int]:
    """`times` of what has an address, from what its store says of the version, a checksum say."""
    return 0, int.from_bytes(hashlib.sha256(marks.encode()).digest()[:6], "big")


def times_of(path: pathlib.Path) -> tuple[int, int] | None:
    """`times` of a file as it is now; OSError where it is gone."""
    now = time.time_ns()
    return _times(path.stat(), now)


def _times(found: os.stat_result, now: int) -> tuple[int, int] | None:
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return times if max(times) < now - _TICK else None


def of_content(content: bytes, times: tuple[int, int] | None) -> Fingerprint:
    """The fingerprint of what was read when its shard or store had these `times`."""
    return Fingerprint(len(content), hashlib.sha256(content).hexdigest(), times)


def still_content(
    known: Fingerprint, times: tuple[int, int] | None, take: Callable[[], Fingerprint]
) -> Fingerprint | None:
    """`still` of what lies in a shard or store, which has these `times` now; `take` reads it."""
    if times is not None and times == known.times:
        return known
    now = take()
    return now if now.sha256 == known.sha256 else None


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Digest of a file's content, in hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprint(path: pathlib.Path) -> Fingerprint:
    """Takes the fingerprint of a file as it is now; OSError where it cannot be read."""
    if path.exists() and not path.is_file():  # reading a pipe would wait for ever
        raise OSError(f"{printable(path)} is no ordinary file")
    with open(path, "rb") as stream:
        now, found = time.time_ns(), os.fstat(stream.fileno())
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return Fingerprint(found.st_size, sha256, _times(found, now))


def still(path: pathlib.Path, known: Fingerprint) -> Fingerprint | None:
    """The fingerprint with the file's present times if the content is unchanged, else None."""
    try:
        found = path.stat()
        if found.st_size != known.bytes:
            return None
        if known.times == (found.st_mtime_ns, found.st_ctime_ns):
            return known
        now = fingerprint(path)
    except OSError:  # gone, or not to be read any more
        return None
    return now if now.sha256 == known.sha256 else None
