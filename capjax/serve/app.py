"""The application: routes, what they take, and what they answer; errors as {"detail": text}."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

import pydantic
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from capjax.decoding.rules import describe
from capjax.explainers.choosing import Chosen
from capjax.explainers.language.linguistic import Way
from capjax.explainers.methods import METHODS
from capjax.explainers.request import Measure
from capjax.serve.asking import Captions, Maps, Served
from capjax.serve.guard import Access, Guard
from capjax.serve.limits import Limits, RefusedError
from capjax.serve.meters import Meters
from capjax.serve.page import FIRST, page_files
from capjax.serve.records import json_bytes
from capjax.serve.room import Room
from capjax.serve.samples import SAMPLES, sample
from capjax.serve.streaming import answered, events
from capjax.serve.uploads import TAKEN, Upload, check_length, check_name, read_upload
from capjax.serve.worker import Worker

STREAM = "text/event-stream"

PICTURE = {
    "requestBody": {
        "required": True,
        "description": "the bytes of one picture",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "no body"},
    401: {"description": "the server asks for a token"},
    403: {"description": "a page of another site asks"},
    408: {"description": "the body came too slowly"},
    413: {"description": "too many bytes or pixels"},
    415: {"description": f"no picture of the kinds {', '.join(TAKEN)}"},
    421: {"description": "the Host header names another server"},
    422: {"description": "a damaged picture, or something impossible was asked"},
    503: {"description": "too many requests wait; Retry-After says when to come back"},
}

Name = Annotated[
    str, pydantic.Field(max_length=200, description="of the picture, for the answer's `file`")
]


class Json(Response):
    """Strict JSON of plain values and of NumPy's."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Of Starlette."""
        return json_bytes(content)


class Captioning(pydantic.BaseModel, extra="forbid"):
    """Parameters of `/caption`, as FastAPI reads them from the address."""

    name: Name = "picture"


class Explaining(Captioning):
    """Parameters of `/explain`."""

    methods: str = pydantic.Field(FIRST, description="comma-separated names of `/model`")
    query: list[str] = pydantic.Field(
        [], description="sentences instead of the caption; [a phrase] gets a map"
    )
    contrast: list[str] = pydantic.Field([], description='"dog:cat": why dog and not cat')
    keyword: list[str] = pydantic.Field(
        [], description="a word, wherever the sentence says it, as one map"
    )
    whole_sentence: bool = False
    measure: Measure | None = None
    linguistic: list[Way] = pydantic.Field(
        [], description="ways to find what words owe to earlier words"
    )
    view: bool = pydantic.Field(False, description="with the page's view of the answer")

    def asked(self, limits: Limits) -> Maps:
        """As a value for the worker.

        Raises:
          RefusedError: an unknown method, or more than the limits allow (422).
        """
        methods = tuple(name.strip() for name in self.methods.split(",") if name.strip())
        unknown = [name for name in methods if name not in METHODS]
        if unknown or not methods:
            raise RefusedError(
                422,
                f"got the methods {self.methods[:200]!r}; expected names of: {', '.join(METHODS)} "
                "(options of methods are for explain.py)",
            )
        for what, given, most in (
            ("methods", methods, limits.methods),
            ("queries", self.query, limits.sentences),
            ("contrasts and keywords", [*self.contrast, *self.keyword], limits.contrasts),
        ):
            if len(given) > most:
                raise RefusedError(422, f"got {len(given)} {what}; up to {most} are answered")
            if any(len(text) > limits.characters for text in given):
                raise RefusedError(
                    422, f"one of the {what} is longer than {limits.characters} characters"
                )
        return Maps(
            tuple(dict.fromkeys(methods)),
            tuple(self.query),
            tuple(self.contrast),
            tuple(self.keyword),
            self.whole_sentence,
            self.measure,
            tuple(dict.fromkeys(self.linguistic)),
            self.view,
        )


def make_app(served: Served, limits: Limits, access: Access, *, warm: bool = True) -> Guard:
    """The ASGI application.

    Args:
      served: the captioner and how it is asked.
      limits: of requests.
      access: who may ask.
      warm: compiles the programs of captions, and of a first explanation, before the first request.
    """
    worker, meters = Worker(served, limits), Meters()
    reading = asyncio.Semaphore(limits.readers)

    @contextlib.asynccontextmanager
    async def alive(_: FastAPI) -> AsyncIterator[None]:
        if warm:
            await asyncio.to_thread(_compile, served, limits)
        worker.start()
        yield
        await asyncio.to_thread(worker.close)

    app = FastAPI(
        title="capjax",
        description="Captions, and for every word a map of where in the picture it comes from.",
        lifespan=alive,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
    )
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _refused)
    app.add_exception_handler(ClientDisconnect, _refused)

    async def uploaded(request: Request, name: str) -> Upload:
        check_name(name)
        content = await _body(request, limits)
        async with reading:
            prep = served.captioner.preprocessing
            return await asyncio.to_thread(read_upload, content, name, prep, limits)

    @app.post("/caption", responses=ERRORS, openapi_extra=PICTURE)
    async def caption(request: Request, own: Annotated[Captioning, Query()]) -> Response:
        """The caption of a picture, and the others that the search ended with."""
        upload = await uploaded(request, own.name)
        return Json(await answered(worker, Captions(), upload, request))

    @app.post("/explain", responses=ERRORS, openapi_extra=PICTURE)
    async def explain(request: Request, own: Annotated[Explaining, Query()]) -> Response:
        """Maps of the words; with `Accept: text/event-stream` as events, with progress."""
        asked = own.asked(limits)
        try:
            asked.check(served.captioner, limits.tokens)
        except ValueError as error:
            raise RefusedError(422, str(error)) from error
        upload = await uploaded(request, own.name)
        if STREAM in request.headers.get("accept", ""):
            return StreamingResponse(await events(worker, asked, upload), media_type=STREAM)
        return Json(await answered(worker, asked, upload, request))

    @app.get("/model")
    async def model() -> Response:
        """What this server holds, and what may be asked of it."""
        return Json(_described(served, limits))

    @app.get("/samples/{name}", responses={404: {"description": "no such sample"}})
    async def samples(name: str) -> Response:
        """A sample picture of those that `/model` lists."""
        found = await asyncio.to_thread(sample, name)
        if found is None:
            raise RefusedError(404, f"there is no such sample; there are: {', '.join(SAMPLES)}")
        kind = "image/png" if name.endswith(".png") else "image/jpeg"
        return Response(found, media_type=kind)

    @app.post("/session", status_code=204, responses={401: ERRORS[401]})
    async def session(request: Request) -> Response:
        """Sets a cookie for a browser that brings the token in its header."""
        cookie = access.cookie(request.headers["host"], secure=request.url.scheme == "https")
        return Response(status_code=204, headers={"Set-Cookie": cookie})

    @app.get("/healthz")
    async def healthz() -> Response:
        """Whether requests are answered; 503 where they are no longer."""
        status, code = ("ok", 200) if worker.alive else ("the devices' thread has ended", 503)
        return Json({"status": status, "waiting": worker.waiting}, code)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Counts, in the text format of Prometheus."""
        return Response(meters.text(_gauges(worker)), media_type="text/plain; version=0.0.4")

    for path, (kind, content) in page_files().items():
        app.add_api_route(path, _constant(kind, content), include_in_schema=False)
    return Guard(app, access, meters, Room(limits.places, worker.refusal))


def _constant(kind: str, content: bytes) -> Callable[[], Awaitable[Response]]:
    """A route that always answers with the same."""

    async def constant() -> Response:
        return Response(content, media_type=kind)

    return constant


def _gauges(worker: Worker) -> dict[str, tuple[str, str, float]]:
    tally = worker.tally
    return {
        "capjax_waiting": ("gauge", "Requests that wait for the devices.", worker.waiting),
        "capjax_batches_total": ("counter", "Batches that were worked on.", tally.batches),
        "capjax_pictures_total": ("counter", "Pictures in these batches.", tally.pictures),
        "capjax_work_seconds_total": ("counter", "Seconds spent on them.", tally.seconds),
        "capjax_cancelled_total": ("counter", "Pictures given up half-way.", tally.cancelled),
        "capjax_refused_total": ("counter", "Requests refused for want of room.", tally.refused),
    }


def _described(served: Served, limits: Limits) -> dict[str, Any]:
    methods = [
        {
            "name": name,
            "measure": Chosen(method).measure_of(name),
            "contrasts": method.CONTRASTS,
            "cost": method.COST,
            "source": method.SOURCE,
        }
        for name, method in METHODS.items()
    ]
    return {
        "model": served.name,
        "hash": served.captioner.hash,
        "decoding": describe(served.decoding, served.max_len),
        "doubts": served.doubt,
        "methods": methods,
        "samples": list(SAMPLES),
        "formats": list(TAKEN),
        "limits": dataclasses.asdict(limits),
    }


def _compile(served: Served, limits: Limits) -> None:
    """Compiles what requests of every number of pictures need, and a first explanation."""
    content = sample(SAMPLES[0]) or b""
    upload = read_upload(content, SAMPLES[0], served.captioner.preprocessing, limits)
    sizes = {min(limits.batch, 1 << power) for power in range(limits.batch.bit_length() + 1)}
    for size in sorted(sizes):
        Captions().run(served, [upload] * size, _unwatched)
    with contextlib.suppress(ValueError):  # not every captioner can give them
        Maps((FIRST,), viewed=True).run(served, [upload], _unwatched)


def _unwatched(method: str, done: int, parts: int) -> None:
    """Hears of progress that nobody waits for."""


async def _body(request: Request, limits: Limits) -> bytes:
    """The bytes of a request, no more and no slower than allowed."""
    stated = request.headers.get("content-length", "0")
    check_length(int(stated) if stated.isdecimal() else 0, limits)
    content = bytearray()
    try:
        async with asyncio.timeout(limits.upload_seconds):
            async for part in request.stream():
                content += part
                check_length(len(content), limits)
    except TimeoutError as error:
        raise RefusedError(
            408,
            f"the body did not arrive within {limits.upload_seconds:g} s; send it again",
            {"Connection": "close"},
        ) from error
    return bytes(content)


async def _refused(_: Request, error: Exception) -> Response:
    """An error as JSON."""
    if isinstance(error, RefusedError):
        return Json({"detail": error.text}, error.status, headers=error.headers)
    if isinstance(error, RequestValidationError):
        told = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()]
        return Json({"detail": "; ".join(told)}, 422)
    if isinstance(error, HTTPException):
        return Json({"detail": error.detail}, error.status_code, headers=error.headers)
    return Json({"detail": "the client left"}, 499)
