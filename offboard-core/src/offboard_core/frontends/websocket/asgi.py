"""A WebSocket of any ASGI server as the driver of a :class:`~.session_protocol.SessionProtocol`.

Two tasks live as long as the socket: one always awaits the next frame, so that pings are answered and a vanished client
is noticed at once, whatever the model does; the other one sends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from offboard_client.errors import OffboardError

from ...engine import PolicyService
from .. import Edge, EdgeConnection, Frame, Frontend, Scope, contained
from .bounds import VANISHED
from .carrier import Carrier, carrier_of
from .opening import refuse
from .session_protocol import SessionProtocol

log = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


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
        connection = EdgeConnection(contained(frontend.connect, scope), edge)
    except OffboardError as error:
        last, code, reason = refuse(holder, partial(contained, frontend.refuse, scope), error)
        with contextlib.suppress(OSError):  # ASGI's word for a client that is gone: there is nobody left to tell
            if last is not None:
                await send(_message(last))
            await send(_farewell(code, reason))
        return
    if (carrier := carrier_of(scope)) is not None:
        await _carried(carrier, connection, service, holder, protocols)
        return
    driver = _Driver(connection, send)
    protocol = driver.protocol
    protocols.add(protocol)
    reading = asyncio.ensure_future(driver.read(receive))
    try:
        protocol.connected(service, holder)
        await driver.write()
    finally:
        protocols.discard(protocol)
        protocol.disconnected(VANISHED)
        reading.cancel()
        await asyncio.gather(reading, protocol.wait_closed(), return_exceptions=True)


async def _carried(
    carrier: Carrier, connection: EdgeConnection, service: PolicyService, holder: str, protocols: set[SessionProtocol]
) -> None:
    protocol = SessionProtocol(connection, carrier.say, carrier.end, carrier.lend)
    protocols.add(protocol)
    try:
        protocol.connected(service, holder)
        await carrier.carry(protocol, views=connection.takes_views)
    finally:
        protocols.discard(protocol)
        protocol.disconnected(VANISHED)
        await protocol.wait_closed()


class _Driver:
    """One socket. ASGI is given one message at a time, and the protocol is paused until it has been taken."""

    def __init__(self, connection: EdgeConnection, send: Send) -> None:
        self.protocol = SessionProtocol(connection, self._put, self._close)
        self._send = send
        self._message: dict[str, Any] | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._over = False

    async def read(self, receive: Receive) -> None:
        """Hand on what comes, until nothing can come any more."""
        code = VANISHED
        try:
            while (message := await receive())["type"] != "websocket.disconnect":
                frame = message.get("bytes")
                self.protocol.received(frame if frame is not None else message["text"])
            code = message.get("code", 1005)
        except Exception:
            log.exception("a frame could not be taken in; the session ends")
        finally:
            self.protocol.disconnected(code)
            self._over = True
            self._wake()

    async def write(self) -> None:
        """Send what there is to send until the socket ends."""
        loop = asyncio.get_running_loop()
        while not self._over:
            if (message := self._message) is None:
                self._waiting = loop.create_future()
                await self._waiting
                continue
            self._message = None
            try:
                await self._send(message)
            except OSError:
                return  # the client is gone; the reader hears of it too, but perhaps later
            if message["type"] == "websocket.close":
                return
            self.protocol.resume_writing()

    def _put(self, frame: Frame) -> None:
        self.protocol.pause_writing()
        self._message = _message(frame)
        self._wake()

    def _close(self, code: int, reason: str) -> None:
        self._message = _farewell(code, reason)
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def _message(frame: Frame) -> dict[str, Any]:
    return {"type": "websocket.send", "bytes" if isinstance(frame, bytes) else "text": frame}


def _farewell(code: int, reason: str) -> dict[str, Any]:
    return {"type": "websocket.close", "code": code, "reason": reason}
