"""Who may ask, and what browsers may do with the answers: around the application, for all routes.

A page of another site can make a browser send requests to 127.0.0.1, and a name of its own can be
made to point there (DNS rebinding). So `Host` has to be a name of this server and `Origin`, where a
browser sends one, the server itself.
"""

import contextlib
import dataclasses
import hmac
import secrets
import time
import urllib.parse
from typing import Any

from capjax.serve.limits import RefusedError
from capjax.serve.meters import Meters
from capjax.serve.records import json_bytes
from capjax.serve.room import Room

LOOPBACK = ("127.0.0.1", "localhost", "::1")
COOKIE = "capjax_session"
OPEN = ("/", "/page.js", "/page.css", "/healthz")
"""Routes that need no token: they tell nothing of the model, and one has to be able to sign in."""

PICTURED = ("/caption", "/explain", "/adversarial", "/counterfactual")
"""Routes that bring pictures, for which room is kept."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclasses.dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
      hosts: names under which the server is reached, without ports.
      token: that a request has to bring, in `Authorization: Bearer …` or by the cookie of
        `POST /session`; None: none.
      session: what that cookie holds; another one whenever the server starts.
    """

    hosts: tuple[str, ...] = LOOPBACK
    token: str | None = None
    session: str = dataclasses.field(default_factory=lambda: secrets.token_urlsafe(32))

    def check(self, path: str, headers: dict[str, str]) -> None:
        """Judges a request by its headers, whose names are in lower case.

        Raises:
          RefusedError: another host (421), another origin (403), or no token where one is asked
            for (401).
        """
        host = headers.get("host", "")
        name, _ = _place(host)
        if name not in self.hosts:
            raise RefusedError(
                421,
                f"got the host {host[:80]!r}; this server answers to {', '.join(self.hosts)}. "
                "--allow-host=NAME adds a name",
            )
        origin = headers.get("origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            raise RefusedError(403, "the request comes from a page of another site")
        if self.token is None or path in OPEN:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _same(given.strip(), self.token):
            return
        kept = _cookies(headers.get("cookie", ""), _cookie_name(host))
        if any(_same(value, self.session) for value in kept):
            return
        raise RefusedError(
            401,
            "this server asks for a token: send the header `Authorization: Bearer TOKEN`",
            {"WWW-Authenticate": "Bearer"},
        )

    def cookie(self, host: str, *, secure: bool) -> str:
        """The value of Set-Cookie for whoever brought the token to this host (name:port)."""
        kept = f"{_cookie_name(host)}={self.session}; Path=/; HttpOnly; SameSite=Strict"
        return kept + "; Secure" * secure


class Guard:
    """An ASGI application around another: checks, room, headers and counts."""

    def __init__(self, inner: Any, access: Access, meters: Meters, room: Room) -> None:
        """Takes the application, who may use it, where to count, and room for pictures."""
        self.inner = inner
        self.access = access
        self.meters = meters
        self.room = room

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Of ASGI."""
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        start, path = time.monotonic(), scope["path"]
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        status = 0

        async def guarded(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name.lower() for name, _ in message["headers"]}
                own = {"Cache-Control": "no-store", **HEADERS}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.lower().encode(), value.encode())
                        for name, value in own.items()
                        if name.lower().encode() not in given
                    ),
                ]
            await send(message)

        try:
            self.access.check(path, headers)
            with self.room.taken() if path in PICTURED else contextlib.nullcontext():
                await self.inner(scope, receive, guarded)
        except RefusedError as refused:  # by these two; the application tells of its own
            await _refuse(refused, guarded)
        finally:
            # By route, of which there are few. A client that left before the answer is counted as
            # nginx does.
            route = getattr(scope.get("route"), "path", "other")
            self.meters.answered(route, status or 499, time.monotonic() - start)


async def _refuse(refused: RefusedError, send: Any) -> None:
    body = json_bytes({"detail": refused.text})
    given = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **refused.headers,
    }
    headers = [(name.lower().encode(), value.encode()) for name, value in given.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _place(host: str) -> tuple[str, int | None]:
    """Name and port of `name:port`; no name where it is malformed."""
    try:
        address = urllib.parse.urlsplit(f"//{host}")
        return address.hostname or "", address.port
    except ValueError:
        return "", None


def _cookie_name(host: str) -> str:
    """Of its own for each port: browsers keep one set of cookies for all ports of a name."""
    _, port = _place(host)
    return COOKIE if port is None else f"{COOKIE}_{port}"


def _cookies(header: str, name: str) -> list[str]:
    """The values of one cookie, whatever other cookies look like."""
    parts = (part.strip().partition("=") for part in header.split(";"))
    return [value for key, _, value in parts if key == name]


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())
