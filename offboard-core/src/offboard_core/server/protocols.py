"""uvicorn's HTTP with an end to every wait, and a bound on what one client can make the loop do."""
# ruff: noqa: D102 (the methods are uvicorn's, and asyncio's)

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from offboard_client.errors import BadMessage, InferTimeout, OffboardError
from offboard_client.wire import WireLimits, error_frame
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from ..frontends import Sparing
from ..frontends.v1 import encode

if TYPE_CHECKING:
    from .uvicorn_server import Config

#: In place of uvicorn's loggers, which are the whole process's. Below a warning the headers are logged, and with them
#: the token.
log = logging.getLogger(__name__)
log.setLevel(logging.WARNING)
_sparing = Sparing()
# One line a minute for all requests that are none: whoever sends them must not fill the disk.
log.addFilter(lambda record: record.levelno > logging.WARNING or _sparing.may(record.getMessage()))

#: Bytes of a request's line and headers, and requests that a client may send before the first is answered.
HEAD_BYTES = 65536
PIPELINE = 16
#: Bytes of a body that are thrown away because the answer was given before they came: a client that sends all it has
#: before it reads finds the answer then. More of it ends the connection.
UNREAD = WireLimits().message_bytes
#: Seconds that the last words of a connection may take to leave.
FAREWELL = 1.0


class HttpProtocol(HttpToolsProtocol):
    """A request has ``request_timeout`` seconds to come, from the connection or from the answer before it.

    ``config.waiting`` holds the connections whose request has not come, the oldest first, those in the handshake of
    TLS among them. When file descriptors run out these go first; whoever is answered on one of the reserve is told at
    the end of the answer to go as well.
    """

    config: Config
    cycle: RequestResponseCycle | None  # pyright: ignore[reportIncompatibleVariableOverride] (None until a request)

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.logger, self.access_log = log, False
        self._opening: asyncio.Future[None] | None = None
        self._scarce = False
        self._head = self._unread = 0
        self._timer: asyncio.TimerHandle | None = None

    def accepted(self, opening: asyncio.Future[None], *, scarce: bool) -> None:
        """There is a connection. ``opening`` makes its transport, after the handshake of TLS where there is one.

        ``scarce``: its descriptor is one of the reserve, and nobody could make room.
        """
        self._opening, self._scarce = opening, scarce
        self.app_state = {**self.app_state, "scarce": scarce}
        self._await_request()
        opening.add_done_callback(self._opened)

    def connection_lost(self, exc: Exception | None) -> None:
        self._request_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        super().data_received(data)
        if self._head > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(431, BadMessage(f"the request's headers have more than {HEAD_BYTES:,} bytes"))

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= PIPELINE:
            raise ValueError("too many requests at once")  # httptools makes it an error of the request: 400
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head = self._unread = 0
        super().on_headers_complete()
        if self._scarce and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._head = 0
        if self.cycle is not None and self.cycle.response_complete:
            self._unread += len(body)
            if self._unread > UNREAD and not self.transport.is_closing():
                self._end()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head = 0
        self._request_came()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()  # ours is the one clock
        if not self.transport.is_closing():
            self._await_request()

    def handle_websocket_upgrade(self) -> None:
        self._request_came()
        super().handle_websocket_upgrade()

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.is_closing():  # over TLS that would wait for the peer to agree
            self.loop.call_later(FAREWELL / 2, self.transport.abort)

    def make_room(self) -> None:
        """Go at once."""
        self._request_came()
        if self._opening is not None:
            self._opening.cancel()
        if self._is_open():
            self.transport.abort()

    def _is_open(self) -> bool:
        return self in self.connections

    def _opened(self, opening: asyncio.Future[None]) -> None:
        self._opening = None
        if not self._is_open():
            self.connection_lost(ConnectionAbortedError())
        elif opening.cancelled():  # in the very turn in which its handshake was over
            self.transport.abort()

    def _await_request(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.config.bounds.request_timeout, self._overdue)
            self.config.waiting[self] = None

    def _request_came(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self.config.waiting.pop(self, None)

    def _overdue(self) -> None:
        cycle = self.cycle
        if not self._is_open():
            self.make_room()
            return
        self._request_came()
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            return  # it is ours to answer; the clock starts again then
        limit = self.config.bounds.request_timeout
        if self._head or (cycle is not None and cycle.more_body and not cycle.response_started):
            self._refuse(408, InferTimeout(f"no whole request came within {limit:g} s"))
        else:
            self._end()

    def _refuse(self, status: int, error: OffboardError) -> None:
        self.transport.write(response(status, error))
        self._end()

    def _end(self) -> None:
        self.transport.close()
        self.loop.call_later(FAREWELL, self.transport.abort)


def response(status: int, error: OffboardError) -> bytes:
    """An error as a whole HTTP response that ends its connection."""
    body: Any = encode(error_frame(error), True)
    head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body.encode())
    return STATUS_LINE[status] + head + body.encode()
