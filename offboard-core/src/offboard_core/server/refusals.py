"""No, before the upgrade to a WebSocket and instead of an answer (C-9, C-10, H-3)."""

from __future__ import annotations

from typing import Any

from offboard_client.errors import Forbidden, NotFound, OffboardError, Unauthorized
from offboard_client.wire import error_frame

from ..frontends.v1 import encode
from ..frontends.websocket import Receive, Send

#: Seconds after which a client that found the server full may try again.
RETRY_AFTER = 5


async def refuse_upgrade(scope: dict[str, Any], receive: Receive, send: Send, error: OffboardError) -> None:
    """Answer the request for a WebSocket with ``error``; with 403 and nothing else where the server knows no more."""
    await receive()  # websocket.connect
    if "websocket.http.response" in (scope.get("extensions") or {}):
        await _answer(send, "websocket.http.response", error)
    else:
        await send({"type": "websocket.close"})


async def refuse_request(send: Send, error: OffboardError) -> None:
    """Answer a request of HTTP with ``error``."""
    await _answer(send, "http.response", error)


async def _answer(send: Send, kind: str, error: OffboardError) -> None:
    status, headers = 503, [(b"retry-after", str(RETRY_AFTER).encode())]
    if isinstance(error, Unauthorized):
        status, headers = 401, [(b"www-authenticate", b"Bearer")]
    elif isinstance(error, Forbidden | NotFound):
        status, headers = 403, []  # Positronic's clients take 403 under a path that is none for a server that is up
    text: Any = encode(error_frame(error), True)
    body: bytes = text.encode()
    about = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": f"{kind}.start", "status": status, "headers": [*about, *headers]})
    await send({"type": f"{kind}.body", "body": body})
