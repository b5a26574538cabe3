"""The options of `python -m capjax.serve`, checked, and the server that they ask for."""

import argparse
import ipaddress
import os
import pathlib
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from capjax.captioner import Captioner, captioner_folder
from capjax.decoding.rules import default_decoding
from capjax.experiment.opening.named import load
from capjax.runtime.command_line import at_least_one
from capjax.serve.guard import LOOPBACK
from capjax.serve.limits import Limits

if TYPE_CHECKING:
    from capjax.serve.asking.fitted_concepts import FittedConcepts

DESCRIPTION = (
    "Serves a page that captions pictures and shows where every word comes from, and the same "
    "answers as JSON. Needs the extra: pip install '.[serve]'"
)
TOKEN = "CAPJAX_TOKEN"
"""Environment variable that --token may come from: a command line is for every user to read."""

OTHERS = 256
"""Connections beside those that bring pictures: who looks at the page, and who is told to wait."""

WEBCAM = (
    "browsers give pages a webcam only on localhost or over HTTPS: give --certificate=FILE and "
    "--key=FILE, or leave the webcam out"
)


def add_options(add: Callable[..., Any]) -> None:
    """Options of the command, by an `add_argument`."""
    usual = Limits()
    add("--model", default="photographs", help="as of explain.py (default photographs)")
    add(
        "--against",
        metavar="MODEL",
        help="a second captioner, whose captions and maps stand beside those of the first",
    )
    add(
        "--concepts",
        type=pathlib.Path,
        metavar="FOLDER",
        help="concepts of --model, as `python -m capjax.studies concepts fit` wrote them (default: "
        "the folder concepts beside the model, where there is one)",
    )
    add("--host", default="127.0.0.1", help="address to listen at (default 127.0.0.1)")
    add("--port", type=int, default=4200, help="default 4200; 0 takes a free one")
    add(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name under which browsers reach the server, beside localhost; may be repeated",
    )
    add("--token", help=f"that requests have to bring (default: ${TOKEN}, or none)")
    add("--certificate", type=pathlib.Path, help="PEM file, for HTTPS; with --key")
    add("--key", type=pathlib.Path, help="PEM file of the certificate's private key")
    add("--batch", type=at_least_one, default=usual.batch, help=f"default {usual.batch}")
    add(
        "--waiting",
        type=at_least_one,
        default=usual.waiting,
        help=f"requests in line, beyond which there is a 503 (default {usual.waiting})",
    )
    add(
        "--seconds",
        type=float,
        default=usual.work_seconds,
        help=f"that a request may take on the devices (default {usual.work_seconds:g})",
    )
    add("--cold", action="store_true", help="compile nothing before the first request")


def serve(options: argparse.Namespace, tell: Callable[[str], None]) -> int:
    """Serves until it is told to end; returns the exit code.

    Raises:
      ValueError: options that do not go together, or a model that is not served.
      ImportError: the extra is not installed.
    """
    try:
        import uvicorn

        from capjax.serve.app import make_app
        from capjax.serve.asking.served import Served
        from capjax.serve.guard import Access
        from capjax.serve.programs import Programs
    except ImportError as error:
        raise ImportError(
            f"the server needs the extra `serve` ({error.name} is missing): pip install '.[serve]'"
        ) from error

    hosts, token = _hosts(options), _token(options)
    if (options.certificate is None) != (options.key is None):
        raise ValueError("--certificate and --key go together; give both, or neither")
    for path in (options.certificate, options.key):
        if path is not None and not path.is_file():
            raise ValueError(f"there is no file {path}")
    limits = Limits(batch=options.batch, waiting=options.waiting, work_seconds=options.seconds)
    names = [options.model] + [options.against] * (options.against is not None)
    labels = _labels(names)
    programs = Programs()
    models = {}
    for label, name in zip(labels, names, strict=True):
        captioner = load(name)
        decoding, max_len = default_decoding(captioner)
        folder = options.concepts if name is options.model else None
        concepts = _concepts(captioner, name, folder, tell)
        doubts = _doubts(captioner)
        given = decoding, max_len, doubts, options.batch, programs, concepts
        models[label] = Served(label, captioner, *given)
    app = make_app(models, limits, Access(hosts, token), warm=not options.cold)
    config = uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=15,
        limit_concurrency=limits.places + OTHERS,
        timeout_graceful_shutdown=int(limits.work_seconds) + 1,
    )
    if not _is_loopback(options.host):
        if options.certificate is None:
            tell(WEBCAM)
        if token is None:
            tell(f"everybody who reaches {options.host} may ask; --token=TOKEN changes that")
    if not options.cold:
        tell(f"compiling {' and '.join(labels)} …")
    return _run(uvicorn.Server(config), options, tell)


def _run(server: Any, options: argparse.Namespace, tell: Callable[[str], None]) -> int:
    """Runs the server; SIGTERM and Ctrl-C end it once running requests are answered."""
    started = server.startup

    async def startup(*given: Any, **named: Any) -> None:
        await started(*given, **named)
        if server.started:
            port = server.servers[0].sockets[0].getsockname()[1]
            scheme = "http" if options.certificate is None else "https"
            host = "localhost" if _is_loopback(options.host) else options.host
            tell(f"ready: {scheme}://{host}:{port}")

    server.startup = startup
    # uvicorn answers what runs, and then raises the signal that it got once more.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server.run()
    except KeyboardInterrupt:
        return 0
    return 0 if server.started else 1


def _hosts(options: argparse.Namespace) -> tuple[str, ...]:
    """Names under which the server answers.

    Raises:
      ValueError: it listens at all addresses, and no name is given.
    """
    names = [name.lower() for name in options.allow_host]
    if not 0 <= options.port < 2**16:
        raise ValueError(f"got --port={options.port}; expected 0 to 65535")
    if options.host in ("0.0.0.0", "::", ""):
        if not names:
            raise ValueError(
                f"--host={options.host or repr('')} listens at every address; say under which name "
                "browsers reach it, as in --allow-host=box.example.org (a wrong name is refused)"
            )
    else:
        names.append(options.host.lower().strip("[]"))
    return tuple(dict.fromkeys((*LOOPBACK, *names)))


def _token(options: argparse.Namespace) -> str | None:
    """What requests have to bring.

    Raises:
      ValueError: it is empty, or no header can hold it as it is.
    """
    token = os.environ.get(TOKEN) if options.token is None else options.token
    if token is not None and not (token and token.isascii() and token.isprintable()):
        found = "an empty one" if not token else "one with other characters"
        raise ValueError(
            f"--token or ${TOKEN} is {found}; expected printable ASCII, such as of `openssl rand "
            "-hex 16`. For a server without a token leave both out"
        )
    if token is not None and token != token.strip():
        raise ValueError(f"--token or ${TOKEN} begins or ends with a space, which headers lose")
    return token


def _labels(names: Sequence[str]) -> list[str]:
    """What people call models: the last part of each name, or the whole where that is the same.

    Raises:
      ValueError: one is named twice.
    """
    if len(set(names)) < len(names):
        raise ValueError(f"--against={names[-1]} is the same captioner as --model; name another")
    last = [pathlib.PurePath(name).name for name in names]
    return last if len(set(last)) == len(last) else [*names]


def _concepts(
    captioner: Captioner, name: str, folder: pathlib.Path | None, tell: Callable[[str], None]
) -> "FittedConcepts":
    """Concepts in a folder, or beside the model; none where there is no such folder.

    Raises:
      ValueError: the folder is named and holds none, or a file is no concepts of this model.
    """
    from capjax.serve.asking.fitted_concepts import FOLDER, FittedConcepts

    beside = captioner_folder(name)
    place = folder or (beside / FOLDER if beside is not None else None)
    if place is None or not (folder or place.is_dir()):
        return FittedConcepts()
    found = FittedConcepts.read(captioner, place, tell)
    if not found.sets:
        raise ValueError(
            f"{place} holds no significant concepts of a word; `python -m capjax.studies concepts "
            "fit --model=… --out=…` writes WORD.safetensors there"
        )
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _doubts(captioner: Captioner) -> bool:
    """Whether something was fitted that says which words not to believe."""
    from capjax.studies.doubt.doubter import kept_doubt

    try:
        kept_doubt(captioner)
    except ValueError:
        return False
    return True
