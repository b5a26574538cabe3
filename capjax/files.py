"""Files that are old, or new and whole, whenever their writer dies."""

import contextlib
import os
import pathlib
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
    with open(temporary, "wb") as stream:
        yield stream
        if durable:
            stream.flush()
            os.fsync(stream.fileno())
    os.replace(temporary, path)
