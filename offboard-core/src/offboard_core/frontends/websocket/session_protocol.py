"""The order of frames in a session: one observation, then exactly one reply; control frames in order.

Section 4 of the protocol.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from time import perf_counter
from typing import Any

from offboard_client.errors import Busy, InferTimeout, Internal, ModelLost, OffboardError, ShuttingDown
from offboard_client.wire import (
    CLOSE_GOING_AWAY,
    CLOSE_MODEL_LOST,
    CLOSE_REFUSED,
    CLOSE_TOO_LARGE,
)

from ...engine import Lend, PolicyService, ServiceSession
from .. import EdgeConnection, Frame, both_ends
from .bounds import FAREWELLS, MESSAGE_BYTES, PENDING
from .opening import open_session, refuse

log = logging.getLogger(__name__)


class SessionProtocol:
    """One socket of a protocol, driven by whoever owns its connection; all on the event loop.

    ``send(frame)`` and ``close(code, reason)`` are the driver's, and return at once. It calls :meth:`connected` first,
    :meth:`received` for each whole message, and :meth:`disconnected` once the connection is gone, whoever ended it,
    never from within ``send`` or ``close``. After ``close`` neither of them is called any more. Between
    :meth:`pause_writing` and :meth:`resume_writing`, which may be called from within ``send``, neither is called.
    ``lend``: as of a :class:`~.carrier.Carrier`.
    """

    def __init__(
        self, connection: EdgeConnection, send: Callable[[Frame], None], close: Callable[[int, str], None],
        lend: Lend | None = None,
    ) -> None:  # fmt: skip
        self._connection, self._send, self._close = connection, send, close
        self._lend = lend if connection.answer_within is None else None
        self._holder = ""
        self._session: ServiceSession | None = None
        self._in_flight = False
        self._observations = 0
        self._pending: deque[tuple[Frame, bool, bool, float]] = deque()
        self._outbox: deque[Frame] = deque()
        self._paused = False
        self._closing: tuple[int, str] | None = None
        #: Nothing is sent any more: it is closed, or nobody is there.
        self._over = False
        self._tasks: set[asyncio.Task[None]] = set()
        #: Of the frame that is not answered yet, where its client does not wait for ever.
        self._late: asyncio.TimerHandle | None = None

    # -- from the driver -------------------------------------------------------------------------------------------
    def connected(self, service: PolicyService, holder: str) -> None:
        """The socket is open. What the client sends before it has its session waits for that."""
        self._holder = holder
        self._spawn(self._open(service, holder))

    def received(self, frame: Frame) -> None:
        """The client sent a frame."""
        if self._closing is not None:
            return
        if len(frame) > MESSAGE_BYTES:
            self._shut(CLOSE_TOO_LARGE, f"a message is at most {MESSAGE_BYTES:,} bytes")
            return
        session = self._session
        if session is not None:
            session.touch()
        if (within := self._connection.answer_within) is not None:
            if self._late is not None or self._outbox:
                self._outbox.clear()
                self._shut(CLOSE_REFUSED, f"{Busy.code}: a frame came before the answer to the last one")
                return
            self._late = asyncio.get_running_loop().call_later(within, self._overdue, both_ends(frame), within)
        control = self._connection.is_control(frame)
        asks = not control or self._connection.asks(frame)
        busy = asks and self._observations > 0
        if busy:
            frame = both_ends(frame)  # enough for the answer
        elif asks:
            self._observations += 1
        if (self._pending or self._outbox) and max(len(self._pending), len(self._outbox)) >= PENDING:
            self._shut(CLOSE_REFUSED, "too many frames without waiting for replies")
        elif session is None or self._in_flight or self._pending:
            self._pending.append((frame, busy, control, perf_counter()))
        else:
            self._handle(frame, busy, control)

    def said(self) -> None:
        """The answer that was lent may have been said."""
        if self._session is not None:
            self._session.settle()

    def pause_writing(self) -> None:
        """The connection takes no more for now."""
        self._paused = True

    def resume_writing(self) -> None:
        """The connection takes more again."""
        self._paused = False
        self._flush()

    def disconnected(self, code: int) -> None:
        """The connection is gone. A robot whose network failed may come back for its lease.

        ``code``: the client's last word, or what stands for it (RFC 6455, 7.1.5). Only the first call counts.
        """
        self._answered()
        linger = self._closing is None and code not in FAREWELLS
        self._closing, self._over = self._closing or (code, ""), True
        for task in self._tasks:
            task.cancel()
        session, self._session = self._session, None
        if session is not None:
            session.close(linger=linger)

    def going_away(self) -> None:
        """The server ends: close, after what there is to say."""
        self._shut(CLOSE_GOING_AWAY, ShuttingDown.code)

    async def wait_closed(self) -> None:
        """Until nothing of it runs any more, after :meth:`disconnected`."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def owes(self) -> bool:
        """Whether the client waits for an answer: of the model, or one that is still to be sent."""
        if self._over or self._session is None:
            return False
        self.said()  # its answer may be there
        return bool(self._in_flight or self._pending or self._outbox or self._paused)

    # -- inside ----------------------------------------------------------------------------------------------------
    async def _open(self, service: PolicyService, holder: str) -> None:
        try:
            session, ready = await open_session(service, self._connection, holder, self._tell)
        except OffboardError as error:
            self._refuse(holder, error)
        except Exception:
            log.exception("opening a session failed")
            self._refuse(holder, Internal("the session could not be opened; the server's log says why"))
        else:
            if self._closing is not None:
                session.close()
                return
            self._session = session
            if ready is not None:
                self._say(ready)
            session.on_evict(self._evicted)
            self._next()

    def _tell(self, status: Frame) -> None:
        self._outbox.clear()  # an older status: who is slow to read need not know any more how it stood
        self._say(status)

    def _refuse(self, holder: str, error: OffboardError) -> None:
        last, code, reason = refuse(holder, self._connection.refusal, error)
        if last is not None:
            self._say(last)
        self._shut(code, reason, "")

    def _handle(self, frame: Frame, busy: bool, control: bool, arrived: float | None = None) -> None:
        session = self._session
        assert session is not None
        if busy:
            error = Busy("an observation is in flight already; send the next one after its reply")
            self._reply(frame, None, error)
        elif control:
            self._in_flight = True
            self._spawn(self._answer(frame, session))
        elif not (self._connection.answers_alone and self._answered_already(frame)):
            self._in_flight = True
            session.submit(frame, partial(self._replied, both_ends(frame)), arrived, self._lend)

    def _answered_already(self, frame: Frame) -> bool:
        """Whether the model need not be asked: then this observation has its reply."""
        reply, refused = None, None
        try:
            reply = self._connection.without_model(frame)
        except OffboardError as error:
            refused = error
        except Exception:
            log.exception("an observation could not be answered")
            refused = Internal("the observation could not be answered; the server's log says why")
        if reply is None and refused is None:
            return False
        self._observations -= 1
        self._reply(frame, reply, refused)
        return True

    def _replied(self, frame: Frame, reply: Frame | None, error: OffboardError | None) -> None:
        self._observations -= 1
        self._reply(frame, reply, error)
        if error is not None and isinstance(error, ModelLost):
            self._shut(CLOSE_MODEL_LOST, error.code)
        self._settled()

    async def _answer(self, frame: Frame, session: ServiceSession) -> None:
        reply, refused = None, None
        try:
            reply = await self._connection.answer(frame, session)
        except OffboardError as error:
            refused = error
        except (Exception, asyncio.CancelledError):
            if self._over:
                raise
            log.exception("a control frame could not be answered")
            refused = Internal("the control frame could not be answered; the server's log says why")
        self._observations -= self._connection.asks(frame)
        if reply is not None or refused is not None:
            self._reply(frame, reply, refused)
        self._settled()

    def _reply(self, frame: Frame, reply: Frame | None, error: OffboardError | None) -> None:
        if error is not None and not self._over:
            self._connection.edge.answered(self._holder, error)
        if self._closing is not None and self._connection.answer_within is not None:
            return
        if self._late is not None:
            self._answered()
        try:
            if reply is None:
                reply = self._connection.error(error or Internal("there is no reply; the server's log says why"), frame)
            self._say(reply)
        except Exception:
            log.exception("an error could not be told; the session ends")
            self._shut(CLOSE_REFUSED, Internal.code)

    def _answered(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _overdue(self, frame: Frame, within: float) -> None:
        """The client is about to give up. What it would be sent later it would take for something else."""
        if self._session is None:
            _, _, control, _ = self._pending.popleft()  # it is the only one
            self._observations -= not control
            self._reply(frame, None, InferTimeout(f"the model is not there after {within:g} s; ask again"))
        else:
            self._reply(frame, None, InferTimeout(f"there is no answer after {within:g} s; connect again"))
            self._shut(CLOSE_REFUSED, InferTimeout.code)

    def _settled(self) -> None:
        self._in_flight = False
        if self._pending:
            self._next()

    def _next(self) -> None:
        while self._pending and not self._in_flight and self._closing is None:
            self._handle(*self._pending.popleft())

    def _evicted(self, error: OffboardError) -> None:
        self._shut(CLOSE_MODEL_LOST if isinstance(error, ModelLost) else CLOSE_REFUSED, error.code, error.text)

    def _shut(self, code: int, reason: str, why: str | None = None) -> None:
        """``why``: as the log has it, where that is more than the reason; "" if it has it already."""
        if self._closing is None and code != CLOSE_GOING_AWAY and why != "":
            self._connection.edge.ended(self._holder, why or reason)
        self._closing = self._closing or (code, reason)
        self._flush()

    def _say(self, frame: Frame) -> None:
        if self._outbox or self._paused or self._over or self._closing is not None:
            self._outbox.append(frame)
            self._flush()
        else:
            self._send(frame)

    def _flush(self) -> None:
        while not (self._paused or self._over):
            if self._outbox:
                self._send(self._outbox.popleft())
            elif self._closing is not None:
                self._over = True
                self._close(*self._closing)
            else:
                return

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the session ends", exc_info=error)
            self._shut(CLOSE_REFUSED, Internal.code)
