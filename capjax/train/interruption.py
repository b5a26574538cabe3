"""Stopping a run from outside: SIGTERM and Ctrl-C ask, the loop saves and leaves."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(Exception):  # noqa: N818 - a request, not an error
    """Raised inside an interruptible section, where nothing can be left half done."""


class StopRequest:
    """Remembers that a signal asked the process to stop.

    Attributes:
      requested: whether it did; the loop looks at it between two updates.
    """

    def __init__(self) -> None:
        self.requested = False
        self._interruptible = False

    @contextlib.contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Handles SIGTERM and SIGINT inside the block; a second signal acts as usual.

        Outside the main thread Python delivers no signals, so nothing is handled there.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        previous: dict[signal.Signals, Any] = {}
        for number in SIGNALS:  # None: a handler that was not set from Python
            previous[number] = signal.signal(number, self._handle) or signal.SIG_DFL
        self._previous = previous
        try:
            yield self
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def agreed(self, step: int, *, every: int) -> bool:
        """Whether all processes are to stop after `step`.

        One process decides alone; several, which must stop after the same update, compare notes
        every `every` steps.
        """
        if jax.process_count() == 1:
            return self.requested
        if step % every:
            return False
        return bool(np.any(multihost_utils.process_allgather(np.asarray(self.requested))))

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """A section that a signal may leave at once, by raising `Interrupted`.

        With several processes it is not left: the others would wait for this one.
        """
        if jax.process_count() > 1:
            yield
            return
        if self.requested:
            raise Interrupted
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.requested = True
        for each in SIGNALS:
            signal.signal(each, self._previous[each])
        if self._interruptible:
            raise Interrupted
