"""The server's front: a page that shows what its routes say. It says nothing itself, so it wants no token."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

#: What the page consists of.
FILES = {"/front.css": "text/css", "/front.js": "text/javascript"}
_STATIC = Path(__file__).parent / "static"
#: Its scripts, styles and answers are this server's, its pictures within those; no other page shows it.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "Vary": "Accept",
}


def is_front(request: Request) -> bool:
    """Whether a browser asks for the page, or what belongs to it."""
    path = request.scope["path"]
    return path in FILES or (path == "/" and "text/html" in request.headers.get("accept", ""))


def front(request: Request) -> Response:
    """The page, or a file of it."""
    path = request.scope["path"]
    name, kind = (path[1:], FILES[path]) if path in FILES else ("front.html", "text/html")
    return Response(_CONTENTS[name], media_type=kind, headers=_HEADERS)


_CONTENTS = {one.name: one.read_bytes() for one in _STATIC.iterdir()}
