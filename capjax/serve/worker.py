"""The one thread that owns the devices, and the line of requests in front of it.

Requests that ask the same of different pictures are joined into one batch. There is no waiting for
company: while a batch runs the line fills, and the next batch takes what is there.
"""

import collections
import concurrent.futures
import dataclasses
import logging
import math
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from capjax.explainers.programs import Watch
from capjax.serve.limits import Limits, RefusedError
from capjax.serve.uploads import Upload


class Asked(Protocol):
    """What is asked of a picture; equal ones are answered together.

    Attributes:
      quick: whether it may be done between two parts of something long.
    """

    @property
    def quick(self) -> bool:
        """See above."""
        ...

    def run(self, models: Any, uploads: Sequence[Upload], watch: Watch) -> list[dict[str, Any]]:
        """One answer a picture, in order.

        Raises:
          ValueError: what is asked is impossible; the text says why.
        """
        ...


class Job:
    """One request on its way."""

    def __init__(self, asked: Asked, upload: Upload, tell: Watch | None = None) -> None:
        """Takes what is asked of which picture; `tell` hears of the progress, in another thread."""
        self.asked = asked
        self.upload = upload
        self.tell = tell
        self.answer: concurrent.futures.Future[dict[str, Any]] = concurrent.futures.Future()
        self.cancelled = False

    def cancel(self) -> None:
        """Nobody waits for it any more: the work ends after the part that is being done."""
        self.cancelled = True
        self.answer.cancel()


class CancelledWorkError(Exception):
    """Nobody waits for this batch any more."""


@dataclasses.dataclass
class Tally:
    """What a worker has done so far."""

    batches: int = 0
    pictures: int = 0
    cancelled: int = 0
    refused: int = 0
    seconds: float = 0.0


class Worker:
    """Answers jobs, one batch after another, in a thread of its own."""

    def __init__(self, models: Any, limits: Limits) -> None:
        """Takes what `Asked.run` gets, and how long the line may be; `start` begins the work."""
        self.models = models
        self.limits = limits
        self.tally = Tally()
        self._line: collections.deque[Job] = collections.deque()
        self._changed = threading.Condition()
        self._closing = False
        self._usual = 0.5  # seconds of a batch, a running mean
        self._thread = threading.Thread(target=self._work, name="capjax devices", daemon=True)

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()

    def close(self) -> None:
        """Answers what is in line, takes nothing more, and ends."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    @property
    def waiting(self) -> int:
        """Jobs in line that somebody waits for."""
        with self._changed:
            return sum(not job.cancelled for job in self._line)

    @property
    def alive(self) -> bool:
        """Whether jobs are answered."""
        return self._thread.is_alive()

    def refusal(self, why: str) -> RefusedError:
        """What a request is told that there is no room for: 503, and when to come back."""
        with self._changed:
            self.tally.refused += 1
            turns = math.ceil(len(self._line) / self.limits.batch) or 1
            after = min(60, max(1, math.ceil(self._usual * turns)))
        return RefusedError(503, f"{why}; try again in {after} s", {"Retry-After": str(after)})

    def submit(self, job: Job) -> Job:
        """Puts a job in line.

        Raises:
          RefusedError: the line is full, or the server is about to end (503, with Retry-After).
        """
        with self._changed:
            self._line = collections.deque(own for own in self._line if not own.cancelled)
            if self._closing:
                raise self.refusal("the server is ending")
            if len(self._line) >= self.limits.waiting:
                raise self.refusal(f"{self.limits.waiting} requests wait already")
            self._line.append(job)
            self._changed.notify()
            return job

    def _work(self) -> None:
        try:
            while self._turn():
                pass
        finally:  # however it ends: nothing is taken that nobody would answer
            with self._changed:
                self._closing = True

    def _turn(self) -> bool:
        """Answers the next batch; False where there is nothing more to come."""
        with self._changed:
            self._changed.wait_for(lambda: self._line or self._closing)
            batch = self._next(lambda _: True)
            if not batch and self._closing and not self._line:
                return False
        if batch:
            self._answer(batch)
        return True

    def _next(self, wanted: Callable[[Job], bool]) -> list[Job]:
        """Takes the first job that is wanted and those that go with it out of the line."""
        first = next((job for job in self._line if wanted(job)), None)
        if first is None:
            return []
        alike = [job for job in self._line if job.asked == first.asked][: self.limits.batch]
        for job in alike:
            self._line.remove(job)
        return [job for job in alike if job.answer.set_running_or_notify_cancel()]

    def _answer(self, batch: list[Job]) -> None:
        spent = self._clock()
        try:
            answers = self._run(batch, spent)
        except CancelledWorkError as ended:
            self.tally.cancelled += len(batch)
            for job in batch:
                job.answer.set_exception(ended)
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, RefusedError):
                # What is wrong with one picture is no matter of the others.
                for job in batch:
                    self._answer([job])
                return
            told = _told(error)
            for job in batch:
                job.answer.set_exception(told)
        else:
            for job, answer in zip(batch, answers, strict=True):
                job.answer.set_result(answer)
        seconds = spent()
        self.tally.batches += 1
        self.tally.pictures += len(batch)
        self.tally.seconds += seconds
        self._usual += 0.2 * (seconds - self._usual)

    def _clock(self) -> Callable[[], float]:
        """Seconds from now on, but for those of batches that are answered in between."""
        start = time.monotonic() - self.tally.seconds
        return lambda: time.monotonic() - self.tally.seconds - start

    def _run(self, batch: list[Job], spent: Callable[[], float]) -> list[dict[str, Any]]:
        asked = batch[0].asked

        def watch(label: str, done: int, parts: int) -> None:
            if all(job.cancelled for job in batch):
                raise CancelledWorkError
            if spent() > self.limits.work_seconds:
                raise RefusedError(
                    422,
                    f"the work took more than {self.limits.work_seconds:g} s, which is what this "
                    "server gives to a request; ask for fewer or cheaper methods",
                )
            for job in batch:
                if job.tell is not None:
                    job.tell(label, done, parts)
            if not asked.quick:
                with self._changed:
                    quick = self._next(lambda job: job.asked.quick)
                if quick:
                    self._answer(quick)

        with warnings.catch_warnings():
            # What explain() warns of stands in the answer.
            warnings.simplefilter("ignore")
            answers = asked.run(self.models, [job.upload for job in batch], watch)
        if len(answers) != len(batch):
            raise RuntimeError(f"got {len(answers)} answers of {len(batch)} pictures from {asked}")
        return answers


def _told(error: Exception) -> Exception:
    """What the client hears of an error: the text of a ValueError, of others that there was one."""
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, ValueError):
        return RefusedError(422, str(error))
    logging.getLogger("capjax.serve").error("a request failed", exc_info=error)
    return RefusedError(500, "the server failed at this request; its log says why")
