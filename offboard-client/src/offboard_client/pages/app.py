"""The ASGI application of pages: who is let in, what is theirs as files, and what a source answers."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import Protocol

from ..errors import Internal, NotFound, OffboardError, Unauthorized
from .access import Access
from .http import ASGIApp, Receive, Request, Response, Route, Scope, Send, read_request, refusal, respond

log = logging.getLogger(__name__)

_TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css"}


class PageSource(Protocol):
    """What pages show. ``page``: which of the files in ``static/`` is at ``/``. ``routes``: what it answers."""

    page: str

    @property
    def routes(self) -> list[Route]:
        """Tried one after the other; a handler may wait, and does what takes long on a thread."""
        ...


def pages_app(source: PageSource, token: str | None = None, hosts: tuple[str, ...] = ()) -> ASGIApp:
    """A plain ASGI application, to be hosted or mounted; all its addresses are relative to where it is.

    ``token``, ``hosts``: as of :class:`~.access.Access`. Raises ConfigurationError for a token that cannot be used.
    """
    access = Access(token, hosts)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"pages are asked over HTTP, not by {scope['type']}")
        try:
            request = await read_request(scope, receive)
            response = await _answer(access, source, request)
        except ConnectionError:
            return
        except OffboardError as error:
            response = refusal(error)
        except Exception:
            log.exception("a page's request failed: %s %s", scope["method"], scope["path"][:200])
            response = refusal(Internal("a fault of the page's server; its log has the traceback"))
        await respond(send, response, scope["method"] == "HEAD")

    return app


async def _answer(access: Access, source: PageSource, request: Request) -> Response:
    method = "GET" if request.method == "HEAD" else request.method
    try:
        access.check(request)
    except Unauthorized:
        if request.path == "/" and method == "GET":
            return _file("login.html")
        if not request.path.startswith("/static/"):
            raise
    if (method, request.path) == ("POST", "/login"):
        return await access.login(request)
    if request.path == "/favicon.ico":
        return Response(status=204, headers={"cache-control": "private, max-age=86400"})
    if method == "GET" and request.path == "/":
        return _file(source.page)
    if method == "GET" and request.path.startswith("/static/"):
        return _file(request.path.removeprefix("/static/"))
    for wanted, pattern, handler in source.routes:
        if (match := pattern.fullmatch(request.path)) is not None and wanted == method:
            return await handler(request, *match.groups())
    raise NotFound(f"there is no {method} {request.path[:200]}")


def _file(name: str) -> Response:
    found = _files().get(name)
    if found is None:
        raise NotFound(f"these pages have no file {name[:200]!r}")
    return found


@cache
def _files() -> dict[str, Response]:
    """All of them, read once: what a request says is a key here and never a path."""
    folder = Path(__file__).parent / "static"
    return {
        path.name: Response(path.read_bytes(), _TYPES[path.suffix], headers={"cache-control": "no-cache"})
        for path in folder.iterdir()
        if path.suffix in _TYPES
    }
