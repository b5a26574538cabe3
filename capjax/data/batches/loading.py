"""Loads batches ahead, in order, with Grain: in threads, or in worker processes."""

import atexit
import dataclasses
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grain
import numpy as np
from absl import flags

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Loading:
    """How batches are loaded ahead; none of it changes a batch.

    Attributes:
      workers: processes; 0 loads in threads of this one, which is enough while Pillow or NumPy,
        which release the interpreter lock, do the work.
      threads: threads of each process; each loads whole batches.
      ahead: batches that wait, ready, in each process.
    """

    workers: int = 0
    threads: int = dataclasses.field(default_factory=lambda: min(8, os.cpu_count() or 1))
    ahead: int = 2

    def iterate(self, load: Callable[[int], Batch], start: int, stop: int) -> "Stream":
        """`load(start), …, load(stop - 1)`, in order.

        `load` is pickled for workers, and what it raises there is raised here.
        """
        options = grain.ReadOptions(
            num_threads=self.threads, prefetch_buffer_size=max(self.ahead, self.threads)
        )
        batches = grain.MapDataset.range(start, stop).map(load).to_iter_dataset(options)
        if self.workers:
            _let_grain_read_its_flags()
            batches = batches.mp_prefetch(
                grain.MultiprocessingOptions(
                    num_workers=self.workers, per_worker_buffer_size=self.ahead
                ),
                worker_init_fn=_start_worker,
            )
            batches = batches.map(_own_memory)
        return Stream(iter(batches))


class Stream(Iterator[Batch]):
    """Batches in order; threads and processes behind it end with `close`, or when it is dropped."""

    def __init__(self, batches: Any) -> None:
        self._open = [batches]
        self._finish = functools.partial(_close_all, self._open)
        # One that is still open at exit would be torn down after the modules it needs.
        atexit.register(self._finish)

    def __next__(self) -> Batch:
        if not self._open:
            raise StopIteration
        return next(self._open[0])

    def close(self) -> None:
        """Ends the stream; there are no further batches."""
        atexit.unregister(self._finish)
        self._finish()

    def __del__(self) -> None:
        self.close()


def _close_all(iterators: list[Any]) -> None:
    while iterators:
        iterators.pop().close()


def _own_memory(batch: Batch) -> Batch:
    """Copies what a worker passed in shared memory, a small space that batches would pin down."""
    return {name: np.array(array) for name, array in batch.items()}


def _let_grain_read_its_flags() -> None:
    """Grain's worker processes read absl flags, which fails in a program that has parsed none."""
    if not flags.FLAGS.is_parsed():
        for name in flags.FLAGS:
            if name.startswith("grain_"):
                flags.FLAGS[name].present = 1  # a present flag may be read: here, its default


def _start_worker(index: int, count: int) -> None:
    """Ties a worker's life to its parent's, and to nothing else.

    A killed parent cannot stop its workers, which would wait for it for ever. An interrupted one
    gets its signal together with its workers and still needs batches to end in order.
    """
    del index, count
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
