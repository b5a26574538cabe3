"""A run of `explain.py` on chips that are not there, as a queue: no array, only times.

`simulate` is one process as `capjax.folder.pipeline` is one: threads that read ahead, one that
feeds the device, threads that write, and bounded queues between them. `simulate_fleet` is many of
them that share the parts of a folder, close a file for each and are restarted when they fail.
"""

from __future__ import annotations

import collections
import dataclasses
import heapq
import itertools
import math
import random
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Line:
    """One process and its chips. Times are in seconds, of an image or of a batch.

    Attributes:
      batch: images of a batch.
      read, readers: of an image, on one core; and cores that read.
      device: of a batch, its way to the chip included.
      feed: of a batch, of the one thread that feeds the device: taking in what comes back.
      write, writers: as `read` and `readers`.
      in_flight: batches that the device is given before that thread waits for the first of them.
    """

    batch: int
    read: float
    readers: int
    device: float
    feed: float
    write: float
    writers: int
    in_flight: int = 1

    def limits(self) -> dict[str, float]:
        """Images a second of each stage, were the others free; the least sets the pace."""
        alone = self.in_flight == 1  # the thread waits for the device, and then does its own
        turns = {"device": self.device + self.feed} if alone else self._turns()
        own = {stage: self.batch / seconds for stage, seconds in turns.items() if seconds}
        if self.read:
            own["read"] = self.readers / self.read
        if self.write:
            own["write"] = self.writers / self.write
        return own

    def _turns(self) -> dict[str, float]:
        return {"device": self.device, "feed": self.feed}


def simulate(line: Line, images: int, *, spread: float = 0.0, seed: int = 0) -> list[float]:
    """Seconds after the start at which each image is written, in order.

    Args:
      line: the process.
      images: that it explains.
      spread: of reading and writing times: they are uniform within this share of their mean.
      seed: of these.
    """
    drawn = random.Random(seed)
    readers, writers = [0.0] * line.readers, [0.0] * line.writers
    loading: collections.deque[float] = collections.deque()
    flying: collections.deque[tuple[float, int]] = collections.deque()
    held: collections.deque[float] = collections.deque()
    ends: list[float] = []
    now = free = 0.0  # of the thread that feeds the device, and of the device

    def served(by: list[float], seconds: float) -> float:
        seconds *= 1 + spread * drawn.uniform(-1, 1) if spread else 1
        end = max(now, by[0]) + seconds
        heapq.heapreplace(by, end)
        return end

    def land() -> None:
        """Waits for the first batch of the device and hands its images to the writers."""
        nonlocal now
        end, count = flying.popleft()
        now = max(now, end) + line.feed
        for _ in range(count):
            if len(held) >= line.batch:
                now = max(now, held.popleft())
            held.append(served(writers, line.write))
            ends.append(held[-1])
        while held and held[0] <= now:
            held.popleft()

    begun = gathered = 0
    for image in range(images):
        while begun < min(images, image + 2 * line.batch):
            loading.append(served(readers, line.read))
            begun += 1
        now = max(now, loading.popleft())
        gathered += 1
        if gathered == line.batch or image + 1 == images:
            free = max(now, free) + line.device
            flying.append((free, gathered))
            gathered = 0
            if len(flying) >= line.in_flight:
                land()
    while flying:
        land()
    return list(itertools.accumulate(ends, max))


@dataclasses.dataclass(frozen=True)
class Fleet:
    """Processes that share the parts of a folder; each part becomes one file of results.

    Attributes:
      line: each process.
      workers: how many there are.
      part: images of a part.
      closing: seconds until a full file is closed, which is done beside the next part.
      ready: seconds until a process that starts has its programs.
      failures: of a process in an hour. Its unfinished parts are done again, from their beginning.
      recording: seconds an image of the one process that takes down the results of all; 0 where
        each writes its own.
    """

    line: Line
    workers: int
    part: int
    closing: float = 0.0
    ready: float = 0.0
    failures: float = 0.0
    recording: float = 0.0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
      seconds: until the last result was there.
      restarts: of processes.
      again: parts that were begun more than once, counted each time.
    """

    seconds: float
    restarts: int
    again: int


MOST_FAILURES = 3.0
"""While one part is done, on average: beyond that, one of twenty is ever finished."""


@dataclasses.dataclass
class _Worker:
    """A process: until when its last file is closed, when it fails, whether it has begun."""

    closed: float = 0.0
    fails: float = math.inf
    warm: bool = False


def simulate_fleet(fleet: Fleet, images: int, *, seed: int = 0) -> Outcome:
    """The run of a folder of so many images.

    A part takes as long as `simulate` says: the first of a process from an empty pipeline, further
    ones behind each other.

    Raises:
      ValueError: processes fail so often that hardly any would finish a part.
    """
    drawn = random.Random(seed)
    cold, steady = _part_times(fleet.line, fleet.part)
    needed = fleet.ready + cold + fleet.closing
    if fleet.failures * needed / 3600 > MOST_FAILURES:
        raise ValueError(
            f"a part of {fleet.part} images takes {needed:.0f} s from a start, and processes fail "
            f"after {3600 / fleet.failures:.0f} s on average: give smaller parts"
        )
    left = collections.deque([fleet.part] * (images // fleet.part))
    if images % fleet.part:
        left.append(images % fleet.part)
    missing, restarts, again, recorded = len(left), 0, 0, 0.0
    workers = [_Worker(fails=_lifetime(fleet, drawn)) for _ in range(fleet.workers)]
    idle: list[int] = []
    events: list[tuple[float, int, Literal["free", "done", "lost"], int]] = []
    number = itertools.count()

    def happens(when: float, what: Literal["free", "done", "lost"], about: int) -> None:
        """Notes that a process will be free, or a part of so many images done or lost."""
        heapq.heappush(events, (when, next(number), what, about))

    def begin(which: int, now: float) -> None:
        """Gives a process its next part, whose end is known: it is closed, or the process fails."""
        nonlocal restarts
        own = workers[which]
        if own.fails < now:  # while it had nothing to do
            restarts += 1
            workers[which] = own = _Worker(fails=now + _lifetime(fleet, drawn))
        size = left.popleft()
        end = now + (steady if own.warm else fleet.ready + cold) * size / fleet.part
        free = max(end, own.closed)
        closed = free + fleet.closing
        if own.fails < closed:
            happens(own.fails, "lost", size)
        else:
            happens(closed, "done", size)
        if own.fails < free:
            restarts += 1
            happens(own.fails, "free", which)
            workers[which] = _Worker(fails=own.fails + _lifetime(fleet, drawn))
        else:
            happens(free, "free", which)
            own.closed, own.warm = closed, True

    for which in range(fleet.workers):
        happens(0.0, "free", which)
    while missing:
        now, _, what, about = heapq.heappop(events)
        if what == "free":
            idle.append(about)
        elif what == "lost":
            again += 1
            left.append(about)
        else:
            missing -= 1
            recorded = max(recorded, now) + about * fleet.recording
        while left and idle:
            begin(idle.pop(), now)
    return Outcome(recorded, restarts, again)


def _part_times(line: Line, part: int) -> tuple[float, float]:
    """Seconds of a part in an empty pipeline, and of one behind others."""
    ends = simulate(line, 4 * part)
    return ends[part - 1], (ends[-1] - ends[part - 1]) / 3


def _lifetime(fleet: Fleet, drawn: random.Random) -> float:
    """Seconds until a process fails."""
    return drawn.expovariate(fleet.failures / 3600) if fleet.failures else math.inf
