"""Whether a file still has the content that something was made from.

A digest of the content decides. It is computed when the content is read anyway; afterwards a file
whose size and times are as they were is taken for unchanged, so that looking at 100,000 files
costs no more than asking for their times.
"""

import dataclasses
import hashlib
import os
import pathlib
import time
from collections.abc import Mapping
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
        copy that keeps the first has another second one. None where the file was so new that a
        later write might have left the same times.
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


def fingerprint(path: pathlib.Path) -> Fingerprint:
    """Takes the fingerprint of a file as it is now; OSError where it cannot be read."""
    if path.exists() and not path.is_file():  # reading a pipe would wait for ever
        raise OSError(f"{printable(path)} is no ordinary file")
    with open(path, "rb") as stream:
        now, found = time.time_ns(), os.fstat(stream.fileno())
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return Fingerprint(found.st_size, sha256, times if max(times) < now - _TICK else None)


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
