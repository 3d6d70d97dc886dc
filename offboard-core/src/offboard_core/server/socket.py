"""One WebSocket: the ASGI side of a session (PROTOCOL §2).

Two tasks live as long as the socket: this one always awaits the next frame, so that pings are answered and a vanished
client is noticed at once, whatever the model does; a second one sends. Between them stands a
:class:`~.conversation.Conversation`, which knows what may be said when.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Literal, cast
from urllib.parse import parse_qsl

from offboard_client.errors import BadParameter, Internal, OffboardError, ShuttingDown
from offboard_client.messages import (
    CLOSE_GOING_AWAY,
    CLOSE_REFUSED,
    RESERVED_PARAMS,
    SESSION_PATH,
    Ready,
    Status,
    error_frame,
)

from ..runtime.codec import BoundCodec
from ..runtime.service import PolicyService
from ..runtime.session import ServiceSession
from .conversation import Conversation
from .wire import Dialect, Layout, V1Wire, encode

log = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Query:
    """A session URL's query string: the protocol's own names apart, the rest as session parameters."""

    def __init__(self, text: str) -> None:
        self.params: list[tuple[str, str]] = []
        own: dict[str, str] = {}
        for name, value in parse_qsl(text, keep_blank_values=True):
            if name not in RESERVED_PARAMS:
                self.params.append((name, value))
            elif name in own:
                raise BadParameter(f"{name} was given twice")
            else:
                own[name] = value
        dialect = _one_of("dialect", own.get("dialect"), ("offboard", "positronic"))
        layout = _one_of("layout", own.get("layout"), ("rows", "columns"))
        self.dialect: Dialect | None = cast("Dialect | None", dialect)
        self.layout: Layout = cast("Layout", layout or "rows")
        self.text = _one_of("encoding", own.get("encoding"), ("json", "msgpack")) == "json"
        self.session_id = own.get("session_id")


def _one_of(name: str, value: str | None, choices: tuple[str, ...]) -> str | None:
    if value is not None and value not in choices:
        raise BadParameter(f"{name}={value[:80]!r} is unknown; it is one of {', '.join(choices)}")
    return value


async def serve_socket(service: PolicyService, scope: Scope, receive: Receive, send: Send) -> None:
    """Run one accepted-to-be session to its end. The path is already known to be a session's."""
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    client = scope.get("client")
    holder = f"{client[0]}:{client[1]}" if client else "a client without an address"
    # What the handshake itself cannot parse is answered in the encoding that the URL seems to ask for.
    text = b"encoding=json" in scope["query_string"]
    try:
        query = Query(scope["query_string"].decode("latin-1"))
    except OffboardError as error:
        await _refuse(send, text, error)
        return
    path: str = scope["path"]
    model_id = path[len(SESSION_PATH) :].removeprefix("/") or None
    conversation = Conversation()
    opening = asyncio.ensure_future(_open(service, model_id, query, holder, send))
    reading = asyncio.ensure_future(_read(receive, conversation, opening))
    try:
        try:
            session = await opening
        except asyncio.CancelledError:
            if reading.done():
                return  # the client left while it was queued or loading
            raise
        except OffboardError as error:
            await _refuse(send, query.text, error)
            return
        except OSError:
            return  # uvicorn's word for a client that left between two status frames
        except Exception:
            log.exception("opening a session failed")
            await _refuse(send, query.text, Internal("the session could not be opened; the server's log says why"))
            return
        try:
            await _send(send, encode(Ready(session.meta, session.id).frame(), query.text))
            conversation.start(session)
            await conversation.write(lambda frame: _send(send, frame), lambda code, why: _close(send, code, why))
        finally:
            conversation.end(session)
    finally:
        for task in (opening, reading):
            task.cancel()
        await asyncio.gather(opening, reading, return_exceptions=True)


async def _open(service: PolicyService, model_id: str | None, query: Query, holder: str, send: Send) -> ServiceSession:
    def wire(codec: BoundCodec) -> V1Wire:
        return V1Wire(codec, query.dialect, query.layout)

    if query.session_id is not None and (session := service.reclaim(query.session_id, model_id, query.params, wire)):
        return session

    async def tell(phase: Literal["waiting", "loading"], message: str) -> None:
        await _send(send, encode(Status(phase, message).frame(), query.text))

    return await service.open(model_id, query.params, wire=wire, holder=holder, on_status=tell)


async def _read(receive: Receive, conversation: Conversation, opening: asyncio.Future[ServiceSession]) -> None:
    code = 1006
    try:
        while (message := await receive())["type"] != "websocket.disconnect":
            frame = message.get("bytes")
            conversation.heard(frame if frame is not None else message["text"])
        code = message.get("code", 1005)
    except Exception:
        log.exception("a frame could not be taken in; the session ends")
    finally:
        opening.cancel()
        conversation.disconnected(code)


async def _send(send: Send, frame: bytes | str) -> None:
    await send({"type": "websocket.send", "bytes" if isinstance(frame, bytes) else "text": frame})


async def _refuse(send: Send, text: bool, error: OffboardError) -> None:
    frame = error_frame(error, handshake=True)
    # The client may have gone while we were about to tell it; there is nobody left to tell then.
    with contextlib.suppress(OSError):
        await _send(send, encode(frame, text))
        await _close(send, CLOSE_GOING_AWAY if isinstance(error, ShuttingDown) else CLOSE_REFUSED, error.code)


async def _close(send: Send, code: int, reason: str) -> None:
    await send({"type": "websocket.close", "code": code, "reason": reason})
