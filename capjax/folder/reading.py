"""Reads files ahead of the work that needs them."""

import collections
import concurrent.futures
from collections.abc import Callable, Iterator, Sequence
from typing import Any


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
