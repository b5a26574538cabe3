"""Files that are old, or new and whole, whenever their writer dies."""

import contextlib
import errno
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: pathlib.Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """A stream whose content takes the place of `path` in one rename when the block ends well.

    Args:
      path: its folder is created where missing.
      durable: the content is on disk before the rename, so that a power cut keeps it too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as stream:
            yield stream
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)  # on a full disk its bytes are wanted
        raise


_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your quota on the disk is used up",
    errno.EFBIG: "a file grew over the limit on the size of files (see ulimit -f)",
}


def fullness(error: BaseException | None) -> str | None:
    """Which limit on what can be written an error, or what caused it, is about; None if none.

    Libraries pass the system's error on as text alone: "… [OS error 28: No space left on device]".
    """
    while error is not None:
        for number, text in _FULL.items():
            known = isinstance(error, OSError) and error.errno == number
            if known or os.strerror(number) in str(error):
                return text
        error = error.__cause__ or error.__context__
    return None


def space(folder: pathlib.Path) -> str:
    """How much the disk of `folder` has left, for messages."""
    usage = shutil.disk_usage(folder)
    return f"{usage.free / 1e6:,.0f} of {usage.total / 1e6:,.0f} MB are free there"
