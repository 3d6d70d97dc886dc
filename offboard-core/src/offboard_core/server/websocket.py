"""uvicorn's WebSocket with an end to every wait, bounds on what one client makes the loop do, and a way past ASGI."""
# ruff: noqa: D102 (the methods are uvicorn's, and asyncio's)

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from offboard_client.errors import BadMessage
from offboard_client.wire import CLOSE_REFUSED
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State

from ..engine import SAID, Loan
from ..frontends import MEMORY, Frame
from ..frontends.websocket import CARRIER, SessionProtocol
from .door import Copying, is_here
from .frames import FrameMeter
from .messages import MessageReader, is_utf8
from .protocols import FAREWELL, log, response
from .voice import BINARY, TEXT, Guarded, Voice, header, voice_of

if TYPE_CHECKING:
    from .door import Place
    from .uvicorn_server import Config

#: RFC 6455's code for text that is not UTF-8, and for a connection that ended without one.
CLOSE_INVALID = 1007
VANISHED = 1006
#: Continuation frames of one message: 32 MiB in pieces of 8 KiB.
FRAGMENTS = 4096
#: Messages that are kept while one before them is copied, of as many bytes as one may have.
BEHIND = 64


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """A client may send ``frame_rate`` frames a second that answer nothing; who answers no ping is gone."""

    config: Config

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.logger = self.conn.logger = log
        self.conn.debug = False
        self._meter = FrameMeter(self.config.bounds.frame_rate, self.loop.time())
        self._unanswered = 0
        self._carried: SessionProtocol | None = None
        self._ended: asyncio.Future[None] | None = None
        self._views = False
        #: Memory that a client on this machine may have messages lie in.
        self._place: Place | None = None
        #: A message that is being copied from there, and what came behind it.
        self._copying: Copying | None = None
        self._behind: deque[Any] = deque()
        #: Lent to the thread of a model; and whether there can be one.
        self._voice: Voice | None = None
        self._may_speak = True

    def data_received(self, data: bytes) -> None:
        if not self.handshake_initiated:
            super().data_received(data)
            if not self.handshake_initiated:  # websockets gives up on the whole request, and uvicorn does not notice
                error = BadMessage("the upgrade has too many headers, or one of its lines is too long")
                self.transport.write(response(431, error))
                self.transport.close()
        elif self.disconnected or self._meter.take(data, self.loop.time()):
            super().data_received(data)
        else:
            self._too_many()

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):  # else it was refused
            self.ping_timeout = self.config.pong_timeouts.get(self.scope["path"], self.ping_timeout)
            scope: Any = self.scope
            scope["extensions"][CARRIER] = self
            if (door := self.config.door) is not None and is_here(scope):
                self._place = scope["extensions"][MEMORY] = door.place()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._place is not None:
            self._place.close()
        if self._voice is not None:
            self._voice.close()
        super().connection_lost(exc)

    def handle_cont(self, event: Any) -> None:
        if len(self.frames) > FRAGMENTS and not self.disconnected:
            self._fail(f"a message in more than {FRAGMENTS} pieces")
        else:
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not self.close_sent and not is_utf8(b"".join(self.frames)):
            self._fail("a text frame is not UTF-8", CLOSE_INVALID)  # uvicorn reports it as a fault of ours
            return
        if self._carried is None:
            self._paced()
            super().send_receive_event_to_app()
            return
        data, self.frames = b"".join(self.frames), []
        self._message(data.decode() if self.curr_msg_data_type == "text" else data)

    def _paced(self) -> None:
        """One message at a time paces itself: it costs the client as much waiting as it costs us work."""
        if not self._unanswered:
            self._meter.give_back()
        self._unanswered += 1

    async def send(self, message: Any) -> None:
        if self.close_sent and self.initial_response is None and not self.disconnected:
            raise ClientDisconnected  # the keepalive gave it up a moment ago
        await super().send(message)
        if message["type"] == "websocket.send":
            self._unanswered = max(0, self._unanswered - 1)
        elif message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # or uvicorn reports a refusal as a fault of ours

    def send_keepalive_ping(self) -> None:
        # What was left to send when it was closed has found nobody who takes it.
        if self.transport.is_closing():
            self.transport.abort()
            return
        super().send_keepalive_ping()
        if self.close_sent:  # uvicorn looks no more, and closing then waits for ever for who reads no more
            self.schedule_ping()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.loop.call_later(FAREWELL, self.transport.abort)

    # -- carried, without ASGI's messages: see Carrier --------------------------------------------------------------
    async def carry(self, session: SessionProtocol, *, views: bool) -> None:
        self._carried, self._views, came = session, views, self.queue
        ended = self._ended = self.loop.create_future()
        straight: Any = _Straight(self)
        self.queue = straight
        while not came.empty():
            straight.put_nowait(came.get_nowait())
        if not (self.disconnected or self.transport.is_closing()):
            self.transport.pause_reading()  # or uvloop goes on as it began
            # Who sent half a frame with the upgrade is read by websockets alone.
            if self._meter.between and not self.frames:
                reader = MessageReader(self.config.ws_max_size, self._count, self._message, self._other)
                self.transport.set_protocol(_Reading(self, reader))
            self.read_paused = False
            self.transport.resume_reading()
        await ended

    def say(self, frame: Frame) -> None:
        if frame is SAID:
            if self._voice is not None:
                self._voice.done()
        elif self.close_sent or self.disconnected or self.transport.is_closing():
            return
        elif isinstance(frame, str):
            payload = frame.encode()
            self.transport.write(header(TEXT, len(payload)) + payload)
        else:
            self.transport.write(header(BINARY, len(frame)) + frame)
        if self._unanswered:
            self._unanswered -= 1

    def lend(self) -> Loan | None:
        if self.close_sent or self.disconnected or self.transport.is_closing():
            return None
        if self._voice is None and self._may_speak:
            self._may_speak = False
            if (voice := voice_of(self.transport, self.loop, self.config.bounds.max_sessions)) is not None:
                guarded: Any = Guarded(self.transport, voice)
                self._voice, self.transport = voice, guarded
        return None if self._voice is None else self._voice.lend()

    def end(self, code: int, reason: str) -> None:
        if self.conn.state is State.OPEN and not (self.close_sent or self.disconnected or self.transport.is_closing()):
            self.conn.send_close(code, reason)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
            self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)
        self._end()

    def hand(self, frame: Any) -> None:
        """One message for the session, bytes or text; a view is as good where it was asked for. Never raises."""
        assert self._carried is not None
        if self._copying is not None:
            self._behind.append(frame)
            if len(self._behind) > BEHIND or sum(map(len, self._behind)) > self.config.ws_max_size:
                self._fail("too many frames without waiting for replies")
            return
        try:
            self._carried.received(frame)
        except Exception:
            log.exception("a frame could not be taken in; the session ends")
            self.gone(VANISHED)

    def gone(self, code: int) -> None:
        """Nothing comes any more."""
        assert self._carried is not None
        self._copying = None
        self._behind.clear()
        self._carried.disconnected(code)
        self._end()

    def eof_received(self) -> None:
        if self._voice is not None:  # the transport closes once what a thread has begun to say is said
            self._voice.quiet()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._carried is not None:
            self._carried.pause_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._carried is not None:
            self._carried.resume_writing()

    def _end(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _count(self) -> bool:
        if self._meter.one(self.loop.time()):
            return True
        if not self.disconnected:
            self._too_many()
        return False

    def _message(self, message: Frame | memoryview) -> bool:
        if not self.close_sent:  # else the client has not seen yet that this is over
            if (voice := self._voice) is not None and voice.recall() and self._carried is not None:
                self._carried.said()
            self._paced()
            place = self._place
            if place is not None and place.memory is not None and not isinstance(message, str):
                found = place.message(message, owed=self._unanswered > 1)
                if isinstance(found, Copying):
                    self._copying = found
                    self._copy(found)
                    return not self.disconnected
                message = found
            self.hand(message if self._views or not isinstance(message, memoryview) else bytes(message))
        return not self.disconnected

    def _copy(self, copying: Copying) -> None:
        """A piece of it in this turn of the loop, and the next in the next."""
        if self._copying is not copying:  # the client has gone
            return
        if (message := copying.go_on()) is None:
            self.loop.call_soon(self._copy, copying)
            return
        self._copying = None
        behind, self._behind = self._behind, deque()
        for frame in (message, *behind):
            if not self.close_sent:
                self.hand(frame)

    def _other(self, data: bytes) -> bool:
        super().data_received(data)
        return self.conn.parser_exc is None and self.conn.close_rcvd is None and not self.disconnected

    def _too_many(self) -> None:
        self._fail(f"more than {self.config.bounds.frame_rate:g} frames a second")

    def _fail(self, why: str, code: int = CLOSE_REFUSED) -> None:
        self.conn.fail(code, why)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = self.disconnected = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": why})
        # Closing on unread data would take the reason back from who reads it: see CUT_OFF.
        self.read_paused = False
        self.transport.pause_reading()
        self.close_timer = self.loop.call_later(FAREWELL, self.transport.abort)


class _Reading(asyncio.BufferedProtocol):
    """What the transport of a WebSocket that is carried reads into; all else goes to the WebSocket itself."""

    def __init__(self, socket: WebSocketProtocol, reader: MessageReader) -> None:
        self.get_buffer, self.buffer_updated = reader.get_buffer, reader.buffer_updated
        self.connection_lost, self.eof_received = socket.connection_lost, socket.eof_received
        self.pause_writing, self.resume_writing = socket.pause_writing, socket.resume_writing


class _Straight:
    """In place of uvicorn's queue of ASGI's messages, once there is a session to be told."""

    def __init__(self, socket: WebSocketProtocol) -> None:
        self._socket = socket

    def put_nowait(self, event: Any) -> None:
        if event["type"] == "websocket.receive":
            data = event.get("bytes")
            self._socket.hand(event["text"] if data is None else data)
        elif event["type"] == "websocket.disconnect":
            self._socket.gone(event.get("code", 1005))
