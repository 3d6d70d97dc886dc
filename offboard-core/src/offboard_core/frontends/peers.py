"""Sessions of clients that have no connection, or none that this server sees, by who they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any

from offboard_client.errors import Internal, OffboardError, ShuttingDown, told

from ..engine import PolicyService
from .admission import Admission, Peer
from .base import Frame, PeerConnection, both_ends
from .contained import contained
from .edge import Edge, EdgePeer
from .peer_session import Deliver, PeerSession, hand_over, told_by
from .rates import Bucket

#: Seconds after which a client that says nothing is taken for gone.
SILENCE = 120.0
_GOING = "the server is going away; try again when it is back"


class PeerSessions:
    """The sessions of a :class:`Listener`'s clients, by :attr:`Peer.identity`. Lives on the event loop.

    A client's first message opens its session, and each of its messages is answered once: an observation when the model
    has answered, one that comes before that with ``busy``. Admission is asked for each new client, and its token again
    with each message. A client that floods is told nothing. A session ends when nothing was heard of its client for
    ``silence`` seconds, and when the server needs its place or loses its model; its next message opens another.

    ``connect(peer)``: the connection of a new client, without waiting.
    """

    def __init__(
        self, service: PolicyService, admission: Admission, connect: Callable[[Peer], PeerConnection], *,
        silence: float = SILENCE,
    ) -> None:  # fmt: skip
        self._service, self._admission, self._connect, self._silence = service, admission, connect, silence
        self._draining = False
        self._edge = Edge()
        self._loop = asyncio.get_running_loop()
        self._peers: dict[str, PeerSession] = {}
        self._strangers = Bucket(admission.message_rate, self._loop.time())
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._peers)

    def __contains__(self, identity: str) -> bool:
        """Whether there is a session of this client, or one is being opened."""
        return identity in self._peers

    def submit(self, peer: Peer, frame: Frame, deliver: Deliver) -> None:
        """``peer`` sent ``frame``; ``deliver`` follows, or is called at once."""
        one = self._peers.get(peer.identity)
        try:
            self._admission.check(peer.token, peer.how)
            if self._draining:
                raise ShuttingDown(_GOING)
            if one is None:
                one = self._enter(peer)
        except OffboardError as error:
            self._refuse(peer, error, frame, deliver)
        except Exception as error:
            self._refuse(peer, Internal(f"a client could not be taken in: {told(error)}"), frame, deliver)
        else:
            one.received(frame, deliver)

    async def ask(self, peer: Peer, frame: Frame) -> Frame | None:
        """:meth:`submit` for those who would rather wait."""
        answer: asyncio.Future[Frame | None] = self._loop.create_future()
        self.submit(peer, frame, lambda reply: None if answer.done() else answer.set_result(reply))
        return await answer

    def end(self, identity: str) -> None:
        """This client is gone, or done. What it is still owed is delivered as an error."""
        if (one := self._peers.get(identity)) is not None:
            one.end(ShuttingDown("the session has ended"))

    async def drain(self) -> None:
        """Begin nothing any more; return when every client is answered."""
        self._draining = True
        for one in list(self._peers.values()):
            one.give_up_waiting(ShuttingDown(_GOING))
        # Polled, once in the server's life: with an event every exchange would pay for it.
        while any(one.owes for one in self._peers.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """End every session; whoever still waits is told."""
        self._draining = True
        for one in list(self._peers.values()):
            one.end(ShuttingDown(_GOING))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- inside ----------------------------------------------------------------------------------------------------
    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _enter(self, peer: Peer) -> PeerSession:
        with ExitStack() as place:
            place.enter_context(self._admission.enter(peer))
            connection = self._connection(peer)
            place.callback(self._peers.pop, peer.identity)
            one = self._peers[peer.identity] = PeerSession(
                self._service, peer, connection, self._admission, place.pop_all(), self._silence, self._spawn
            )
        return one

    def _connection(self, peer: Peer) -> EdgePeer:
        return EdgePeer(contained(self._connect, peer), self._edge)

    def _refuse(self, peer: Peer, error: OffboardError, frame: Frame, deliver: Deliver) -> None:
        if not self._strangers.spend(self._loop.time()):
            hand_over(None, deliver, peer)
            return
        self._admission.refused(peer, error)
        try:
            connection = self._connection(peer)
        except Exception:
            reply = None  # that is what was refused
        else:
            reply = told_by(connection, error, both_ends(frame))
        hand_over(reply, deliver, peer)
