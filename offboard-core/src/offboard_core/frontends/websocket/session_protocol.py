"""The order of frames in a session: one observation, then exactly one reply; control frames in order.

Section 4 of the protocol.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter

from offboard_client.errors import Busy, Internal, ModelLost, OffboardError
from offboard_client.wire import (
    CLOSE_GOING_AWAY,
    CLOSE_MODEL_LOST,
    CLOSE_NORMAL,
    CLOSE_REFUSED,
    CLOSE_TOO_LARGE,
    WireLimits,
)

from ...engine import ServiceSession
from .. import Frame, FrontendConnection

log = logging.getLogger(__name__)

#: A larger message closes the session.
MESSAGE_BYTES = WireLimits().message_bytes
#: A client that has sent this many frames without waiting for replies is closed.
PENDING = 64
#: How much of each end of an observation is kept until it is answered.
ENDS = 64
#: Close codes after which nobody comes back for the lease: done, page left, thrown out, and our own shutdown.
_FAREWELLS = (CLOSE_NORMAL, 1001, CLOSE_REFUSED, CLOSE_GOING_AWAY)


class Left(Exception):
    """The client is gone: what was being sent has found nobody. Not an OSError, which anybody may raise."""


class SessionProtocol:
    """The state between the task that reads and the task that writes; all on the event loop, nothing awaits here."""

    def __init__(self, connection: FrontendConnection) -> None:
        self._connection = connection
        self._session: ServiceSession | None = None
        self._in_flight = False
        self._observations = 0
        self._pending: deque[tuple[Frame, bool, float]] = deque()
        self._outbox: deque[Frame] = deque()
        self._closing: tuple[int, str] | None = None
        self._gone: int | None = None
        self._wake: asyncio.Future[None] | None = None
        self._controls: set[asyncio.Task[None]] = set()

    # -- from the reader -------------------------------------------------------------------------------------------
    def heard(self, frame: Frame) -> None:
        """The client sent a frame."""
        if self._closing is not None:
            return
        if len(frame) > MESSAGE_BYTES:
            self._shut(CLOSE_TOO_LARGE, f"a message is at most {MESSAGE_BYTES:,} bytes")
            return
        if self._session is not None:
            self._session.touch()
        control = self._connection.is_control(frame)
        busy = not control and self._observations > 0
        if busy:
            frame = both_ends(frame)  # enough for the answer
        elif not control:
            self._observations += 1
        if len(self._pending) >= PENDING or len(self._outbox) >= PENDING:
            self._shut(CLOSE_REFUSED, "too many frames without waiting for replies")
        elif self._session is None or self._in_flight or self._pending:
            self._pending.append((frame, busy, perf_counter()))
        else:
            self._handle(frame, busy, control)

    def disconnected(self, code: int) -> None:
        """The client is gone."""
        self._gone = code
        self._wake_writer()

    # -- from the socket -------------------------------------------------------------------------------------------
    @property
    def owes(self) -> bool:
        """Whether the client waits for an answer: of the model, or one that is still to be sent."""
        return self._gone is None and bool(self._in_flight or self._pending or self._outbox)

    def start(self, session: ServiceSession) -> None:
        """The handshake is over; what the client sent meanwhile is next."""
        self._session = session
        session.on_evict(self._evicted)
        self._next()

    async def write(
        self, send: Callable[[Frame], Awaitable[None]], close: Callable[[int, str], Awaitable[None]]
    ) -> None:
        """Send what there is to send until the socket ends."""
        try:
            while self._gone is None:
                if self._outbox:
                    await send(self._outbox[0])
                    self._outbox.popleft()  # not before it is out: see owes
                elif self._closing is not None:
                    await close(*self._closing)
                    return
                else:
                    self._wake = asyncio.get_running_loop().create_future()
                    await self._wake
        except Left:
            self._gone = self._gone or 1006  # the reader hears of it too, but perhaps later

    def end(self, session: ServiceSession) -> None:
        """The socket is closed. A robot whose network failed may come back for its lease."""
        for task in self._controls:
            task.cancel()
        session.close(linger=self._closing is None and self._gone not in _FAREWELLS)

    # -- inside ----------------------------------------------------------------------------------------------------
    def _handle(self, frame: Frame, busy: bool, control: bool, arrived: float | None = None) -> None:
        session = self._session
        assert session is not None
        if busy:
            error = Busy("an observation is in flight already; send the next one after its reply")
            self._outbox.append(self._connection.error(error, frame))
            self._wake_writer()
        elif control:
            self._in_flight = True
            task = asyncio.ensure_future(self._answer(frame, session))
            self._controls.add(task)
            task.add_done_callback(self._controls.discard)
        else:
            self._in_flight = True
            session.submit(frame, partial(self._replied, both_ends(frame)), arrived)

    def _replied(self, frame: Frame, reply: Frame | None, error: OffboardError | None) -> None:
        self._observations -= 1
        try:
            if reply is None:
                reply = self._connection.error(error or Internal("there is no reply; the server's log says why"), frame)
            self._outbox.append(reply)
        except Exception:
            log.exception("an error could not be told; the session ends")
            self._shut(CLOSE_REFUSED, "internal")
        if isinstance(error, ModelLost):
            self._shut(CLOSE_MODEL_LOST, error.code)
        self._settled()

    async def _answer(self, frame: Frame, session: ServiceSession) -> None:
        try:
            reply = await self._connection.answer(frame, session)
        except OffboardError as error:
            reply = self._connection.error(error, frame)
        except Exception:
            log.exception("a control frame could not be answered")
            error = Internal("the control frame could not be answered; the server's log says why")
            reply = self._connection.error(error, frame)
        self._outbox.append(reply)
        self._settled()

    def _settled(self) -> None:
        self._in_flight = False
        self._wake_writer()
        self._next()

    def _next(self) -> None:
        while self._pending and not self._in_flight and self._closing is None:
            frame, busy, arrived = self._pending.popleft()
            self._handle(frame, busy, not busy and self._connection.is_control(frame), arrived)

    def _evicted(self, error: OffboardError) -> None:
        self._shut(CLOSE_MODEL_LOST if isinstance(error, ModelLost) else CLOSE_REFUSED, error.code)

    def _shut(self, code: int, reason: str) -> None:
        self._closing = self._closing or (code, reason)
        self._wake_writer()

    def _wake_writer(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


def both_ends(frame: Frame) -> Frame:
    """What :meth:`FrontendConnection.error` needs of a frame: its encoding, and the names it begins and ends with."""
    if len(frame) <= 2 * ENDS:
        return frame
    if isinstance(frame, str):
        return frame[:ENDS] + frame[-ENDS:]
    return frame[:ENDS] + frame[-ENDS:]
