"""The application: routes, what they take, and what they answer; errors as {"detail": text}."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from capjax.decoding.rules import describe
from capjax.explainers.choosing import Chosen
from capjax.explainers.methods import METHODS
from capjax.serve.asking.captions import Captions
from capjax.serve.asking.maps import Maps
from capjax.serve.asking.served import Models, Served
from capjax.serve.guard import Access, Guard
from capjax.serve.limits import Limits, RefusedError
from capjax.serve.meters import Meters
from capjax.serve.page import FIRST, page_files
from capjax.serve.parameters import Asking, Captioning, Explaining, FoolingBy, RemovingBy
from capjax.serve.records import json_bytes
from capjax.serve.room import Room
from capjax.serve.samples import SAMPLES, sample
from capjax.serve.streaming import answered, events
from capjax.serve.uploads import TAKEN, Upload, check_length, check_name, read_upload, taken
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


class Json(Response):
    """Strict JSON of plain values and of NumPy's."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Of Starlette."""
        return json_bytes(content)


def make_app(models: Models, limits: Limits, access: Access, *, warm: bool = True) -> Guard:
    """The ASGI application.

    Args:
      models: captioners by name, and how they are asked.
      limits: of requests.
      access: who may ask.
      warm: compiles the programs of captions, and of a first explanation, before the first request.
    """
    worker, meters = Worker(models, limits), Meters()
    reading = asyncio.Semaphore(limits.readers)

    @contextlib.asynccontextmanager
    async def alive(_: FastAPI) -> AsyncIterator[None]:
        if warm:
            await asyncio.to_thread(_compile, models, limits)
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

    def named(name: str) -> Served:
        if name and name not in models:
            raise RefusedError(
                422, f"got the model {name[:80]!r}; this server holds: {', '.join(models)}"
            )
        return models[name or next(iter(models))]

    async def uploaded(request: Request, name: str, model: Served) -> Upload:
        check_name(name)
        content = await _body(request, limits)
        async with reading:
            prep = model.captioner.preprocessing
            return await asyncio.to_thread(read_upload, content, name, prep, limits)

    async def studied(request: Request, own: Explaining | FoolingBy | RemovingBy) -> Response:
        """What takes its time: with `Accept: text/event-stream` as events, with progress."""
        model = named(own.model)
        asked = own.asked(model.name, limits)
        try:
            await asyncio.to_thread(asked.check, model, limits)
        except ValueError as error:
            raise RefusedError(422, str(error)) from error
        upload = await uploaded(request, own.name, model)
        if STREAM in request.headers.get("accept", ""):
            return StreamingResponse(await events(worker, asked, upload), media_type=STREAM)
        return Json(await answered(worker, asked, upload, request))

    @app.post("/caption", responses=ERRORS, openapi_extra=PICTURE)
    async def caption(request: Request, own: Annotated[Captioning, Query()]) -> Response:
        """The caption of a picture, and the others that the search ended with."""
        model = named(own.model)
        upload = await uploaded(request, own.name, model)
        return Json(await answered(worker, own.asked(model.name, limits), upload, request))

    @app.post("/explain", responses=ERRORS, openapi_extra=PICTURE)
    async def explain(request: Request, own: Annotated[Explaining, Query()]) -> Response:
        """Maps of the words; with `Accept: text/event-stream` as events, with progress."""
        return await studied(request, own)

    @app.post("/adversarial", responses=ERRORS, openapi_extra=PICTURE)
    async def adversarial(request: Request, own: Annotated[FoolingBy, Query()]) -> Response:
        """A small change of the picture that changes its caption; events as of `/explain`."""
        return await studied(request, own)

    @app.post("/counterfactual", responses=ERRORS, openapi_extra=PICTURE)
    async def counterfactual(request: Request, own: Annotated[RemovingBy, Query()]) -> Response:
        """The picture without an object, a region or each object; events as of `/explain`."""
        return await studied(request, own)

    @app.get("/model")
    async def model() -> Response:
        """What this server holds, and what may be asked of it."""
        return Json(_described(models, limits))

    @app.get("/samples/{name}", responses={404: {"description": "no such sample"}})
    async def samples(name: str) -> Response:
        """A sample picture of those that `/model` lists."""
        found = await asyncio.to_thread(sample, name)
        if found is None:
            raise RefusedError(404, f"there is no such sample; there are: {', '.join(SAMPLES)}")
        kind = "image/png" if name.endswith(".png") else "image/jpeg"
        return Response(found, media_type=kind)

    @app.get("/concepts/{word}.png", responses={404: {"description": "no such sheet"}})
    async def concepts(word: str, own: Annotated[Asking, Query()]) -> Response:
        """The sheet of the concepts that were fitted for a word."""
        sheet = named(own.model).concepts.sheets.get(word)
        if sheet is None:
            raise RefusedError(404, "no sheet of concepts was drawn for this word")
        return Response(await asyncio.to_thread(sheet.read_bytes), media_type="image/png")

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


def _described(models: Models, limits: Limits) -> dict[str, Any]:
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
    first, *_ = models.values()
    return {
        "model": first.name,
        "models": {name: _captioner(model) for name, model in models.items()},
        "methods": methods,
        "samples": list(SAMPLES),
        "formats": list(taken(any(model.clips for model in models.values()))),
        "limits": dataclasses.asdict(limits),
        **_captioner(first),
    }


def _captioner(model: Served) -> dict[str, Any]:
    return {
        "hash": model.captioner.hash,
        "decoding": describe(model.decoding, model.max_len),
        "doubts": model.doubt,
        "concepts": list(model.concepts.sets),
        "sheets": list(model.concepts.sheets),
    }


def _compile(models: Models, limits: Limits) -> None:
    """Compiles what requests of every number of pictures need, and a first explanation."""
    content = sample(SAMPLES[0]) or b""
    for name, model in models.items():
        upload = read_upload(content, SAMPLES[0], model.captioner.preprocessing, limits)
        sizes = {min(limits.batch, 1 << power) for power in range(limits.batch.bit_length() + 1)}
        for size in sorted(sizes):
            Captions(name).run(models, [upload] * size, _unwatched)
        with contextlib.suppress(ValueError):  # not every captioner can give them
            Maps(name, (FIRST,), viewed=True).run(models, [upload], _unwatched)


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
