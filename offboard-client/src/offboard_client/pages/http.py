"""HTTP as pages need it: bodies of a known size, answers, and errors that say what is wrong. Plain ASGI."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl

from ..errors import BadParameter, Forbidden, NotFound, OffboardError, Unauthorized, brief

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

#: No body of a request is larger, in bytes.
MOST = 1 << 18
#: A file goes out in pieces of so many bytes.
_PIECE = 1 << 18
#: What every answer says: scripts, styles and pictures are this server's own, and nobody shows it within another page.
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
#: For ever, by whoever has asked: what is at an address that names its version.
KEPT = {"cache-control": "private, max-age=31536000, immutable"}


@dataclass(frozen=True)
class Request:
    """``path``: below where the app is mounted. ``query``: of repeated names the last."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    #: Comes back when whoever asks has gone.
    gone: Callable[[], Awaitable[None]]

    def number(self, name: str, default: float | None = None) -> float:
        """One of the query, finite. Raises BadParameter."""
        text = self.query.get(name)
        if text is None and default is not None:
            return default
        try:
            value = float(text or "")
        except ValueError:
            value = float("nan")
        if not abs(value) < float("inf"):
            raise BadParameter(f"{name} is {brief(text)}; expected a number")
        return value

    def json(self) -> dict[str, Any]:
        """The body, an object in JSON. Raises BadParameter."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip()
        try:
            if kind != "application/json":
                raise BadParameter(f"the body is {brief(kind)}; expected application/json")
            value = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise BadParameter(f"the body is no JSON: {error}") from error
        if not isinstance(value, dict):
            raise BadParameter(f"the body is {brief(value)}; expected an object")
        return cast("dict[str, Any]", value)


@dataclass(frozen=True)
class Response:
    """``body``: what is sent, or a file that is, and then ``done`` is called, whatever became of it."""

    body: bytes | Path = b""
    type: str = "application/json"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    done: Callable[[], None] = lambda: None


Handler = Callable[..., Awaitable[Response]]
#: What answers: a method, a pattern of the whole path, and who is called with the request and the pattern's groups.
Route = tuple[str, "re.Pattern[str]", Handler]


def as_json(value: Any, status: int = 200, **headers: str) -> Response:
    """Plain JSON data. Raises ValueError for numbers that are none."""
    return Response(json.dumps(value, allow_nan=False, separators=(",", ":")).encode(), status=status, headers=headers)


def plain(value: Any) -> Any:
    """JSON data as others wrote it, with null for numbers that are none."""
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list):
        return [plain(each) for each in cast("list[Any]", value)]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def refusal(error: OffboardError) -> Response:
    """An error as JSON, with HTTP's word for it."""
    statuses = {Unauthorized: 401, Forbidden: 403, NotFound: 404, BadParameter: 400}
    status = next((status for kind, status in statuses.items() if isinstance(error, kind)), 422)
    return as_json({"error": error.text, "code": error.code}, status)


async def read_request(scope: Scope, receive: Receive) -> Request:
    """Raises BadParameter for a body that is too large, ConnectionError where the client has gone."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    root, path = scope.get("root_path") or "", scope["path"]
    path = path[len(root) :] if root and path.startswith(root) else path
    body = b""
    while scope["method"] not in ("GET", "HEAD"):
        message = await receive()
        if message["type"] != "http.request":
            raise ConnectionError("the client has gone")
        body += message.get("body", b"")
        if len(body) > MOST:
            raise BadParameter(f"the body is larger than {MOST} bytes")
        if not message.get("more_body"):
            break

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
    return Request(scope["method"], path or "/", query, headers, body, gone)


async def respond(send: Send, response: Response, head: bool = False) -> None:
    """Send it, without its body if only the head was asked for."""
    try:
        size = len(response.body) if isinstance(response.body, bytes) else response.body.stat().st_size
        said = {**_HEADERS, "content-type": response.type, "content-length": str(size), **response.headers}
        await send({"type": "http.response.start", "status": response.status, "headers": _encoded(said.items())})
        if head or isinstance(response.body, bytes):
            await send({"type": "http.response.body", "body": b"" if head else response.body})
            return
        with response.body.open("rb") as file:
            while piece := file.read(_PIECE):  # of a clip that was just made: it is in memory
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})
    finally:
        response.done()


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
