"""The line in front of the devices: batches, room, cancelling, and one bad picture among good."""

import asyncio
import dataclasses
import threading
import time

import pytest

from capjax.serve.limits import Limits, RefusedError
from capjax.serve.worker import CancelledWorkError, Job, Worker


@dataclasses.dataclass(frozen=True)
class Double:
    """Answers twice the "picture"; of None nothing. `seen` hears of every batch."""

    name: str = "double"
    quick: bool = True

    def run(self, model, uploads, watch):
        model.append((self.name, list(uploads)))
        if None in uploads:
            raise ValueError("None has no double")
        return [{"is": 2 * upload} for upload in uploads]


@dataclasses.dataclass(frozen=True)
class Long:
    """A thousand parts, until nobody waits any more."""

    quick: bool = False

    def run(self, model, uploads, watch):
        for part in range(1000):
            watch("long", part, 1000)
            time.sleep(0.005)
        return [{} for _ in uploads]


def started(*jobs, **limits):
    """(a worker that has these jobs in line and begins, what it does)."""
    seen = []
    worker = Worker(seen, Limits(**{"batch": 3, **limits}))
    for job in jobs:
        worker.submit(job)
    worker.start()
    return worker, seen


def test_equal_questions_are_joined_and_order_is_kept():
    jobs = [Job(Double("other" if n == 2 else "double"), n) for n in range(5)]
    worker, seen = started(*jobs)
    assert [job.answer.result(5)["is"] for job in jobs] == [0, 2, 4, 6, 8]
    worker.close()
    assert seen == [("double", [0, 1, 3]), ("other", [2]), ("double", [4])]
    assert (worker.tally.batches, worker.tally.pictures) == (3, 5)


def test_one_bad_picture_is_no_matter_of_the_others():
    jobs = [Job(Double(), one) for one in (1, None, 3)]
    worker, _ = started(*jobs)
    assert jobs[0].answer.result(5)["is"] == 2 and jobs[2].answer.result(5)["is"] == 6
    with pytest.raises(RefusedError, match="None has no double") as caught:
        jobs[1].answer.result(5)
    assert caught.value.status == 422
    worker.close()


def test_a_full_line_says_when_to_come_back():
    worker = Worker([], Limits(waiting=2))
    kept = [worker.submit(Job(Double(), 1)) for _ in range(2)]
    with pytest.raises(RefusedError, match="2 requests wait") as caught:
        worker.submit(Job(Double(), 1))
    assert caught.value.status == 503 and int(caught.value.headers["Retry-After"]) >= 1
    worker.start()
    worker.close()  # what is in line is answered first
    assert [job.answer.result(0)["is"] for job in kept] == [2, 2]
    with pytest.raises(RefusedError, match="ending"):
        worker.submit(Job(Double(), 1))


def test_cancelled_work_ends_and_quick_work_goes_between():
    begun = threading.Event()
    long = Job(Long(), 1, lambda *_: begun.set())
    worker, seen = started(long)
    assert begun.wait(5)
    quick = worker.submit(Job(Double(), 4))
    assert quick.answer.result(1)["is"] == 8  # while the long one is far from done
    assert not long.answer.done() and seen
    waiting = worker.submit(Job(Long(), 2))
    waiting.cancel()
    long.cancel()
    with pytest.raises(CancelledWorkError):
        long.answer.result(1)
    worker.close()
    assert worker.tally.cancelled == 1


def test_work_has_an_end_for_all_of_a_batch():
    jobs = [Job(Long(), one) for one in range(3)]
    worker, _ = started(*jobs, work_seconds=0.05)
    for job in jobs:
        with pytest.raises(RefusedError, match="more than 0.05 s"):
            job.answer.result(5)
    worker.close()


def test_who_left_takes_no_place_in_line():
    worker = Worker([], Limits(waiting=2))
    gone, kept = (worker.submit(Job(Double(), 1)) for _ in range(2))
    gone.cancel()
    assert worker.waiting == 1
    last = worker.submit(Job(Double(), 3))
    with pytest.raises(RefusedError, match="2 requests wait"):
        worker.submit(Job(Double(), 1))
    worker.start()
    worker.close()
    assert [job.answer.result(0)["is"] for job in (kept, last)] == [2, 6]


@dataclasses.dataclass(frozen=True)
class Parts:
    """Five parts; before the second, somebody asks `other`, which takes longer than is allowed."""

    other: list
    quick: bool = False

    def __hash__(self):
        return id(self)

    def run(self, worker, uploads, watch):
        watch("parts", 0, 5)
        self.other.append(worker[0].submit(Job(Slow(), 1)))
        for part in range(1, 5):
            watch("parts", part, 5)
        return [{} for _ in uploads]


@dataclasses.dataclass(frozen=True)
class Slow:
    """Takes 0.3 s in one part."""

    quick: bool = True

    def run(self, model, uploads, watch):
        time.sleep(0.3)
        return [{} for _ in uploads]


def test_nobody_pays_for_what_others_ask_in_between():
    model, other = [], []
    worker = Worker(model, Limits(work_seconds=0.2))
    model.append(worker)
    job = worker.submit(Job(Parts(other), 1))
    start = time.monotonic()
    worker.start()
    assert job.answer.result(5) == {} and other[0].answer.result(0) == {}
    worker.close()
    assert worker.tally.batches == 2 and 0.3 <= worker.tally.seconds <= time.monotonic() - start


@dataclasses.dataclass(frozen=True)
class Wrong:
    """Answers nobody, or ends the thread."""

    ends: bool
    quick: bool = True

    def run(self, model, uploads, watch):
        if self.ends:
            raise SystemExit
        return []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_wrong_number_of_answers_ends_no_thread_and_an_ended_thread_shows():
    worker, _ = started()
    jobs = [worker.submit(Job(Wrong(ends=False), one)) for one in range(2)]
    for job in jobs:
        with pytest.raises(RefusedError, match="failed at this request"):
            job.answer.result(5)
    assert worker.alive
    worker.submit(Job(Wrong(ends=True), 1))
    worker._thread.join(5)
    assert not worker.alive
    with pytest.raises(RefusedError, match="ending"):
        worker.submit(Job(Double(), 1))


def test_a_client_that_leaves_ends_the_work():
    pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
    from capjax.serve.streaming import answered, events

    class Left:
        async def is_disconnected(self):
            return True

    async def leave():
        stream = await events(worker, Long(), 1)
        first = await anext(stream)
        assert first == b'event: progress\ndata: {"method":"long","done":0,"of":1000}\n\n'
        await stream.aclose()
        with pytest.raises(RefusedError, match="left"):
            await answered(worker, Long(), 2, Left())

    worker, _ = started()
    asyncio.run(leave())
    start = time.monotonic()
    worker.close()
    assert time.monotonic() - start < 1
    assert worker.tally.cancelled == 2
