"""Seconds of named stages, which traces of `jax.profiler` show under the same names."""

import collections
import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, TypeVar

import jax

Stage = Literal["compare", "compile", "decode", "encode", "explain", "fetch", "write", "trace"]
"""compare: what is there already; compile: of the programs, to know their memory; decode: read and
resize images; encode: features and captions; explain: maps; fetch: from the device, and make
sense of it; write: maps, pictures and lines; trace: the trace itself, where there is one."""

_Item = TypeVar("_Item")
_END = object()


@dataclasses.dataclass(frozen=True)
class Stages:
    """Adds up the seconds spent in each stage; any thread may spend them.

    Stages do not nest: of one thread, the seconds add up to no more than its own.
    """

    _seconds: dict[str, float] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(float)
    )
    _processor: dict[str, float] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(float)
    )
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    @property
    def seconds(self) -> Mapping[str, float]:
        """Of each stage so far; 0 of one that there was not."""
        return self._seconds

    @property
    def processor(self) -> Mapping[str, float]:
        """Seconds of a core that the whole process took meanwhile; of a stage alone, its own."""
        return self._processor

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """The time that the body takes is that of a `Stage`."""
        with jax.profiler.TraceAnnotation(stage):
            began, busy = time.perf_counter(), time.process_time()
            try:
                yield
            finally:
                spent, busy = time.perf_counter() - began, time.process_time() - busy
                with self._lock:
                    self._seconds[stage] += spent
                    self._processor[stage] += busy

    def waiting(self, stage: Stage, items: Iterable[_Item]) -> Iterator[_Item]:
        """The items; the time until each is there is that of a stage."""
        source = iter(items)
        while True:
            with self(stage):
                item = next(source, _END)
            if item is _END:
                return
            yield item  # type: ignore[misc]
