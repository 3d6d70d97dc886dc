"""One WebSocket: the ASGI side of a session, whichever protocol it speaks.

Two tasks live as long as the socket: this one always awaits the next frame, so that pings are answered and a vanished
client is noticed at once, whatever the model does; a second one sends. Between them stands a
:class:`~.session_protocol.SessionProtocol`, which keeps the order of frames: one reply for each observation.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from offboard_client.errors import Internal, OffboardError, ShuttingDown
from offboard_client.wire import CLOSE_GOING_AWAY, CLOSE_REFUSED, Status

from ...engine import PolicyService, ServiceSession
from .. import Edge, EdgeConnection, Frame, Frontend, FrontendConnection, Scope
from .session_protocol import Left, SessionProtocol

log = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

#: A control frame holds 125 bytes (RFC 6455, 5.5), two of which are the close code.
REASON_BYTES = 123


def peer(scope: Scope) -> str:
    """Who is at the other end, for people."""
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if client else "a client without an address"


async def serve_socket(
    service: PolicyService, frontend: Frontend, scope: Scope, receive: Receive, send: Send, edge: Edge,
    protocols: set[SessionProtocol],
) -> None:  # fmt: skip
    """Run one accepted-to-be session to its end. The path is already known to be the frontend's.

    ``protocols`` holds its own as long as it is open.
    """
    await receive()  # websocket.connect
    await send({"type": "websocket.accept"})
    holder = peer(scope)
    try:
        connection = EdgeConnection(frontend.connect(scope), edge)
    except OffboardError as error:
        await _refuse(send, holder, partial(frontend.refuse, scope), error)
        return
    protocol = SessionProtocol(connection)
    opening = asyncio.ensure_future(_open(service, connection, holder, send))
    reading = asyncio.ensure_future(_read(receive, protocol, opening))
    try:
        try:
            session, ready = await opening
        except asyncio.CancelledError:
            if reading.done():
                return  # the client left while it was queued or loading
            raise
        except OffboardError as error:
            await _refuse(send, holder, connection.refusal, error)
            return
        except Left:
            return  # between two status frames
        except Exception:
            log.exception("opening a session failed")
            error = Internal("the session could not be opened; the server's log says why")
            await _refuse(send, holder, connection.refusal, error)
            return
        try:
            await _send(send, ready)
            protocols.add(protocol)
            protocol.start(session)
            await protocol.write(partial(_send, send), partial(_close, send))
        except Left:
            return  # before it was told that it is in
        finally:
            protocols.discard(protocol)
            protocol.end(session)
    finally:
        for task in (opening, reading):
            task.cancel()
        await asyncio.gather(opening, reading, return_exceptions=True)


async def _open(
    service: PolicyService, connection: FrontendConnection, holder: str, send: Send
) -> tuple[ServiceSession, Frame]:
    """A session, and the frame that says so."""
    session = await _find(service, connection, holder, send)
    try:
        return session, connection.ready(session)
    except BaseException:
        session.close()  # a model's facts may have no form in this encoding
        raise


async def _find(service: PolicyService, connection: FrontendConnection, holder: str, send: Send) -> ServiceSession:
    model_id, params, serializer = connection.model_id, connection.params, connection.serializer
    if connection.session_id is not None and (
        session := service.reclaim(connection.session_id, model_id, params, serializer)
    ):
        return session

    async def tell(status: Status) -> None:
        if status.state == "waiting" and connection.session_id is not None:
            service.give_up(connection.session_id)
        frame = connection.status(status)
        if frame is not None:
            await _send(send, frame)

    return await service.open(
        model_id, params, bridge=connection.bridge, serializer=serializer, holder=holder, on_status=tell
    )


async def _read(receive: Receive, protocol: SessionProtocol, opening: asyncio.Future[Any]) -> None:
    code = 1006
    try:
        while (message := await receive())["type"] != "websocket.disconnect":
            frame = message.get("bytes")
            protocol.heard(frame if frame is not None else message["text"])
        code = message.get("code", 1005)
    except Exception:
        log.exception("a frame could not be taken in; the session ends")
    finally:
        opening.cancel()
        protocol.disconnected(code)


async def _send(send: Send, frame: Frame) -> None:
    await _tell(send, {"type": "websocket.send", "bytes" if isinstance(frame, bytes) else "text": frame})


async def _refuse(
    send: Send, holder: str, refusal: Callable[[OffboardError], Frame | None], error: OffboardError
) -> None:
    shown, ref = Edge.shown(error)
    log.warning("refused a session of %s: %s%s", holder, ref, error.text)
    last = refusal(shown)
    code = CLOSE_GOING_AWAY if isinstance(error, ShuttingDown) else CLOSE_REFUSED
    # The client may have gone while we were about to tell it; there is nobody left to tell then.
    with contextlib.suppress(Left):
        if last is not None:
            await _send(send, last)
        await _close(send, code, shown.code if last is not None else _cut(f"{shown.code}: {shown.text}"))


def _cut(text: str) -> str:
    """As much of a text as the reason of a close frame may hold."""
    return text.encode()[:REASON_BYTES].decode(errors="ignore")


async def _close(send: Send, code: int, reason: str) -> None:
    await _tell(send, {"type": "websocket.close", "code": code, "reason": reason})


async def _tell(send: Send, message: dict[str, Any]) -> None:
    """Raises Left, for which ASGI's word is an OSError."""
    try:
        await send(message)
    except OSError:
        raise Left from None
