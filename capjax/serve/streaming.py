"""Waiting for the worker from the server's event loop: one answer, or server-sent events.

Both notice a client that leaves and cancel its work.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request

from capjax.serve.limits import RefusedError
from capjax.serve.records import json_bytes
from capjax.serve.uploads import Upload
from capjax.serve.worker import Asked, CancelledWorkError, Job, Worker

LOOK = 0.25
"""Seconds between two looks at whether the client is still there."""

Event = tuple[str, Any]


async def answered(
    worker: Worker, asked: Asked, upload: Upload, request: Request
) -> dict[str, Any]:
    """The answer, once it is there.

    Raises:
      RefusedError: what the worker refuses, or 499 where the client left, which nobody reads.
    """
    job = worker.submit(Job(asked, upload))
    waiting = asyncio.ensure_future(asyncio.wrap_future(job.answer))
    try:
        while not (await asyncio.wait({waiting}, timeout=LOOK))[0]:
            if await request.is_disconnected():
                raise RefusedError(499, "the client left")
        return waiting.result()
    except CancelledWorkError as error:
        raise RefusedError(499, "the client left") from error
    finally:
        if not waiting.done():
            job.cancel()
            waiting.cancel()


async def events(worker: Worker, asked: Asked, upload: Upload) -> AsyncIterator[bytes]:
    """`progress` {method, done, of} again and again, then one `result` or `error` {status, detail}.

    The work is cancelled when the client closes the stream. The job is in line when this returns.

    Raises:
      RefusedError: the line is full; raised before the first event.
    """
    loop = asyncio.get_running_loop()
    told: asyncio.Queue[Event] = asyncio.Queue()

    def tell(method: str, done: int, parts: int) -> None:
        progress = ("progress", {"method": method, "done": done, "of": parts})
        loop.call_soon_threadsafe(told.put_nowait, progress)

    job = worker.submit(Job(asked, upload, tell))
    job.answer.add_done_callback(lambda _: loop.call_soon_threadsafe(told.put_nowait, _last(job)))
    return _written(job, told)


async def _written(job: Job, told: "asyncio.Queue[Event]") -> AsyncIterator[bytes]:
    kind = ""
    try:
        while kind not in ("result", "error"):
            try:
                kind, value = await asyncio.wait_for(told.get(), timeout=1.0)
            except TimeoutError:
                yield b": still there\n\n"  # keeps proxies from closing the stream
                continue
            yield b"event: %b\ndata: %b\n\n" % (kind.encode(), json_bytes(value))
    finally:
        if not job.answer.done():
            job.cancel()


def _last(job: Job) -> Event:
    """What a job that is done ends its stream with."""
    if job.answer.cancelled():
        return "error", {"status": 499, "detail": "cancelled"}
    error = job.answer.exception()
    if error is None:
        return "result", job.answer.result()
    if isinstance(error, RefusedError):
        return "error", {"status": error.status, "detail": error.text}
    return "error", {"status": 499, "detail": "cancelled"}
