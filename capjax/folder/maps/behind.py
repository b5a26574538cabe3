"""Work beside the thread that asks for it, one piece at a time."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class StoppedError(Exception):
    """The work was given up before its end."""


class Behind:
    """Does one piece of work at a time in a thread of its own; one thread asks.

    Work that lasts asks `check_wanted` now and then, which raises once nobody wants it any more.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._work: Future[None] | None = None
        self._unwanted = threading.Event()

    def start(self, work: Callable[[], None]) -> None:
        """Waits for the work before this one, and starts this one.

        Raises:
          Exception: what the work before raised; this one is not started then.
        """
        self.wait()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "behind")
        self._work = self._pool.submit(work)

    def raise_failure(self) -> None:
        """Raises what the work raised; waits for nothing."""
        if self._work is not None and self._work.done():
            self.wait()

    def wait(self) -> None:
        """Waits for the work, and raises what it raised."""
        if self._work is not None:
            work, self._work = self._work, None
            work.result()

    def check_wanted(self) -> None:
        """Called by the work.

        Raises:
          StoppedError: it shall end.
        """
        if self._unwanted.is_set():
            raise StoppedError

    def stop(self) -> None:
        """Ends the work, done or not; nothing can be started any more."""
        self._unwanted.set()
        if self._pool is not None:
            self._pool.shutdown()
