"""One client's session where it has no connection: opened by its first message, ended after silence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from time import perf_counter
from typing import Any

from offboard_client.errors import BadMessage, Busy, InferTimeout, Internal, OffboardError, ShuttingDown
from offboard_client.wire import Status, WireLimits

from ..engine import PolicyService, ServiceSession
from .admission import Admission, Peer
from .base import Frame, both_ends
from .contained import contained
from .edge import EdgePeer
from .rates import Bucket

log = logging.getLogger(__name__)

#: A larger message is answered with an error.
MESSAGE_BYTES = WireLimits().message_bytes

#: Called once for each message, on the event loop, with what answers it; None where nothing is to be said.
Deliver = Callable[[Frame | None], None]


class PeerSession:
    """One client's session, from its opening to its end.

    ``admission``: whose turn it waits for, and who hears of a refusal. ``place``: given back when it ends.
    ``silence``: see :class:`PeerSessions`. ``spawn``: runs a coroutine for no longer than the session may.

    ``_deliver`` is there while an answer is owed, and ``_waiting`` while that waits for a session.
    """

    def __init__(
        self, service: PolicyService, peer: Peer, connection: EdgePeer, admission: Admission, place: ExitStack,
        silence: float, spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:  # fmt: skip
        self._service, self._peer, self._connection = service, peer, connection
        self._admission, self._place, self._silence, self._spawn = admission, place, silence, spawn
        self._loop = asyncio.get_running_loop()
        #: Of what it is told for messages before their turn.
        self._busy = Bucket(admission.message_rate, self._loop.time())
        self._session: ServiceSession | None = None
        self._asked: Frame = b""
        self._deliver: Deliver | None = None
        self._waiting: tuple[Frame, float] | None = None
        self._status: Frame | None = None
        self._news = "it waits for its turn"
        self._refused: OffboardError | None = None
        self._ended = False
        self._heard = self._loop.time()
        self._timer = self._loop.call_later(silence, self._tick)
        self._opening = spawn(self._open())
        self._answering: asyncio.Task[None] | None = None

    @property
    def owes(self) -> bool:
        """Whether its client waits for an answer."""
        return self._deliver is not None

    def received(self, frame: Frame, deliver: Deliver) -> None:
        """Its client sent a frame."""
        self._heard = self._loop.time()
        if self._session is not None:
            self._session.touch()
        if self._deliver is not None:
            error = Busy("a message is being answered already; send the next one after its reply")
            if may := self._busy.spend(self._heard):
                self._connection.edge.answered(str(self._peer), error)
            hand_over(told_by(self._connection, error, both_ends(frame)) if may else None, deliver, self._peer)
            return
        self._deliver, self._asked = deliver, both_ends(frame)
        if len(frame) > MESSAGE_BYTES:
            self._told(BadMessage(f"a message is at most {MESSAGE_BYTES:,} bytes"))
        elif self._refused is not None:
            self.end(self._refused)
        elif self._session is not None:
            self._handle(self._session, frame, perf_counter())
        elif self._status is not None:
            self._reply(self._status)
        else:
            self._waiting = frame, perf_counter()

    def give_up_waiting(self, error: OffboardError) -> None:
        """If its client waits for a session, tell it to wait no more."""
        if self._waiting is not None:
            self._fail(error)

    def end(self, error: OffboardError) -> None:
        """Let go of everything. Its client is told ``error`` if it waits for an answer."""
        if self._ended:
            return
        self._ended = True
        self._timer.cancel()
        self._opening.cancel()
        if self._answering is not None:
            self._answering.cancel()
        if self._session is not None:
            self._session.close()
        self._place.close()
        if self._deliver is not None:
            self._fail(error)

    # -- inside ----------------------------------------------------------------------------------------------------
    async def _open(self) -> None:
        connection = self._connection
        try:
            await self._admission.turn()
            session = await self._service.open(
                connection.model_id, connection.params, bridge=connection.bridge, serializer=connection.serializer,
                holder=str(self._peer), on_status=self._on_status,
            )  # fmt: skip
            try:
                connection.begun(session)
            except BaseException:
                session.close()
                raise
        except OffboardError as error:
            self._refuse(error)
        except Exception as error:
            self._refuse(Internal("the session could not be opened; the server's log says why"), error)
        else:
            self._session, waiting = session, self._waiting
            self._waiting = self._status = None
            session.on_evict(self._evicted)
            if waiting is not None and not self._ended:
                self._handle(session, *waiting)

    async def _on_status(self, status: Status) -> None:
        self._status, self._news = self._connection.status(status), status.message
        if self._status is not None and self._waiting is not None:
            self._reply(self._status)

    def _refuse(self, error: OffboardError, cause: Exception | None = None) -> None:
        """There is no session: its client is told now, or when it asks again."""
        self._admission.refused(self._peer, error, cause)
        self._refused = error
        if self._deliver is not None:
            self.end(error)

    def _handle(self, session: ServiceSession, frame: Frame, arrived: float) -> None:
        try:
            control = self._connection.is_control(frame)
            reply = None if control else self._connection.without_model(frame)
        except OffboardError as error:
            self._told(error)
            return
        except Exception:
            log.exception("a message could not be taken in; the session ends")
            self.end(Internal("the message could not be taken in; the server's log says why"))
            return
        if control:
            self._answering = self._spawn(self._answer(frame, session))
        elif reply is not None:
            self._reply(reply)
        else:
            session.submit(frame, self._replied, arrived)

    def _replied(self, reply: Frame | None, error: OffboardError | None) -> None:
        if error is not None and not self._ended:
            self._connection.edge.answered(str(self._peer), error)
        if reply is None:
            self._fail(error or Internal("there is no reply; the server's log says why"))
        else:
            self._reply(reply)

    async def _answer(self, frame: Frame, session: ServiceSession) -> None:
        try:
            self._reply(await self._connection.answer(frame, session))
        except OffboardError as error:
            self._told(error)
        except (Exception, asyncio.CancelledError):
            if self._ended:
                raise
            log.exception("a control frame could not be answered")
            self._fail(Internal("the control frame could not be answered; the server's log says why"))

    def _told(self, error: OffboardError) -> None:
        self._connection.edge.answered(str(self._peer), error)
        self._fail(error)

    def _fail(self, error: OffboardError) -> None:
        self._reply(told_by(self._connection, error, self._asked))

    def _reply(self, reply: Frame | None) -> None:
        deliver, self._deliver, self._waiting = self._deliver, None, None
        self._heard = self._loop.time()
        assert deliver is not None
        hand_over(reply, deliver, self._peer)

    def _evicted(self, error: OffboardError) -> None:
        log.info("the session of %s ends: %s", self._peer, error.text)
        self.end(error)

    def _tick(self) -> None:
        """Its client has been silent, or has waited, for as long as one may; or it was a false alarm."""
        silence = self._silence
        left = self._heard + silence - self._loop.time()
        if left <= 0 and self._deliver is None:
            log.info("the session of %s ends: nothing was heard of it for %g s", self._peer, silence)
            self.end(ShuttingDown("nothing was heard"))
            return
        if left <= 0 and self._waiting is not None:
            # A client that is gone cannot be told from one that waits; this one keeps its place if it asks again.
            self._fail(InferTimeout(f"the model is not there after {silence:g} s ({self._news}); ask again"))
        self._timer = self._loop.call_later(left if left > 0 else silence, self._tick)


def hand_over(reply: Frame | None, deliver: Deliver, peer: Peer) -> None:
    """Call ``deliver``, which is a listener's: what it raises is logged, and nobody else's concern."""
    try:
        contained(deliver, reply)
    except Exception:
        log.exception("a reply to %s could not be sent", peer)


def told_by(connection: EdgePeer, error: OffboardError, frame: Frame) -> Frame | None:
    """How the client is told; None where its protocol fails at that, which the log has."""
    try:
        return connection.error(error, frame)
    except Exception:
        log.exception("an error could not be told")
        return None
