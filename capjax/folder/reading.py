"""Opens what --images names, and reads it ahead of the work that needs it."""

import argparse
import collections
import concurrent.futures
import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tqdm

from capjax.data.pictures.given import read_picture
from capjax.data.pictures.images import UnreadableFileError
from capjax.data.stores.beside import AskedColumns
from capjax.data.stores.choosing import open_store
from capjax.data.stores.contract import Store
from capjax.folder.records import Result
from capjax.folder.writing import Loaded
from capjax.types import Preprocessing

ARCHIVES = "~/.cache/capjax/archives"
"""What was found in tar archives, for the next run; may be removed at any time."""


def open_images(
    options: argparse.Namespace, out: pathlib.Path, clips: bool, tell: Callable[[str], None]
) -> Store:
    """What --images names.

    Args:
      options: of the command line.
      out: folder of the results, whose pictures are none of the images.
      clips: whether the captioner is one of clips.
      tell: takes a sentence on what is left out.
    """
    store = open_store(
        options.images,
        exclude=out,
        clips=clips,
        columns=AskedColumns(options.image_column, options.name_column),
        tell=tell,
        watched=functools.partial(tqdm.tqdm, desc="opened", unit="shard", delay=2.0, leave=False),
        kept=pathlib.Path(ARCHIVES).expanduser(),
    )
    bare = [name for name in store.names if name not in store.captions]
    if store.captions and bare and not options.captions:
        tell(
            f"{len(bare)} of {len(store.names)} images have no caption beside them, e.g. {bare[0]}"
        )
    return store


@dataclasses.dataclass
class Queue:
    """Futures in order, few and light enough for what they hold to fit into memory.

    Attributes:
      count: most of them.
      weight: most of what they weigh together; one alone may weigh more.
    """

    count: int
    weight: float = math.inf
    _futures: collections.deque[tuple[concurrent.futures.Future, int]] = dataclasses.field(
        default_factory=collections.deque
    )
    _held: int = 0

    def room_for(self, weight: int) -> Iterator[Any]:
        """Results of the first futures, until there is room for one more of this weight."""
        while self._futures and (
            len(self._futures) >= self.count or self._held + weight > self.weight
        ):
            yield self._first()

    def append(self, future: concurrent.futures.Future, weight: int) -> None:
        """Takes one more."""
        self._futures.append((future, weight))
        self._held += weight

    def done(self) -> Iterator[Any]:
        """Results of the first futures, up to one that is not done."""
        while self._futures and self._futures[0][0].done():
            yield self._first()

    def rest(self) -> Iterator[Any]:
        """All results."""
        while self._futures:
            yield self._first()

    def _first(self) -> Any:
        future, weight = self._futures.popleft()
        self._held -= weight
        return future.result()


def ahead(
    pool: concurrent.futures.Executor,
    load: Callable[[str], Any],
    files: Sequence[str],
    queue: Queue,
    weigh: Callable[[str], int] = lambda _: 0,
) -> Iterator[Any]:
    """`load` of every file in order, with as many loaded ahead as `queue` holds.

    Args:
      pool: loads.
      load: of a file.
      files: to load.
      queue: empty.
      weigh: what is loaded of a file, in the unit of `queue.weight`.
    """
    for file in files:
        weight = weigh(file)
        yield from queue.room_for(weight)
        queue.append(pool.submit(load, file), weight)
    yield from queue.rest()


def read_image(
    store: Store, preprocessing: Preprocessing, file: str, *, exact: bool
) -> Loaded | str:
    """The image or clip, or why it cannot be read; `exact` as of `read_picture`."""
    try:
        content, known = store.read(file)
        picture = read_picture(content, preprocessing, exact=exact)
        return Loaded(file, known, picture, content, store.metadata(file))
    except (UnreadableFileError, OSError) as error:
        return str(error)


def failed(store: Store, file: str, error: str) -> Result:
    """The result of an image that cannot be read."""
    try:
        metadata = store.metadata(file)
    except OSError:
        metadata = {}
    return Result(file, store.size(file), error=error, metadata=metadata)
