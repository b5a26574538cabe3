"""Reads files ahead of the work that needs them."""

import collections
import concurrent.futures
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from capjax.data.pictures.given import read_picture
from capjax.data.pictures.images import UnreadableFileError
from capjax.folder.writing import Loaded
from capjax.runtime.fingerprint import fingerprint
from capjax.types import Preprocessing


def ahead(
    pool: concurrent.futures.Executor, load: Callable[[str], Any], files: Sequence[str], count: int
) -> Iterator[Any]:
    """`load` of every file in order, with at most `count` loaded ahead."""
    pending: collections.deque[concurrent.futures.Future] = collections.deque()
    for file in files:
        pending.append(pool.submit(load, file))
        if len(pending) >= count:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def read_file(root: pathlib.Path, preprocessing: Preprocessing, file: str) -> Loaded | str:
    """The image or clip, or why it cannot be read."""
    path = root / file
    try:
        known = fingerprint(path)  # first: what changes from here on, the next run notices
        return Loaded(file, known, read_picture(path, preprocessing))
    except (UnreadableFileError, OSError) as error:
        return str(error)


def size_of(path: pathlib.Path) -> int:
    """Bytes of a file, -1 when it is gone: a file that changed is done again."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
