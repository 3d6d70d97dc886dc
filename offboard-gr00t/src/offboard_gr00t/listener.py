"""GR00T's port: robots that run GR00T's own client, of any generation, drive any model that is served here.

GR00T's own server is one REP socket: who asks waits for everybody before. Here each connection has a session of its
own, and ``ping`` is answered while others infer.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
from functools import partial
from typing import cast

from offboard_client.errors import BadMessage, Busy, OffboardError
from offboard_client.wire import WireLimits
from offboard_core.engine import PolicyService
from offboard_core.frontends import Admission, Bucket, Frame, Listener, Peer, PeerSessions, Sparing, read_control

from .client import HOW, GR00TClient, failed, pong, refuse_kill, token_of
from .options import GR00TListenerOptions
from .robots import Robots
from .zmtp import ProtocolError, Request, ServerEnd, answer

log = logging.getLogger(__name__)

#: Seconds in which a connection has introduced itself, and in which a message that began has come whole.
_PATIENCE = 60.0
#: Seconds for which one may rest that has no session. What is on its way when it is closed is lost, and a REQ waits for
#: its answer for ever: so it is long, and nothing that anybody asks at.
_REST = 4001.0
#: Seconds in which what was written last goes out, when the server ends.
_PARTING = 1.0
#: Connections at most, whether they have a session or not; and what one may leave unread of its answers.
_MOST_CONNECTIONS, _LARGEST_BACKLOG = 1024, 8 * 2**20
#: Bytes that messages which have not come whole may take, all together, for who sends them need not have shown a token
#: yet; and bytes that are kept for the next messages of connections that rest.
_MOST_HELD, _MOST_KEPT = 512 * 2**20, 256 * 2**20
#: What a robot hears that would be told nothing, as one of many that the server refuses just now.
_CROWDED = Busy("the server refuses too many clients at this moment to say why; ask again")
#: A connection that takes no more is not the one that takes too much.
_SMALL = 2**20


class GR00TListener(Listener):
    """Sessions of GR00T's clients, by connection."""

    def __init__(self, options: GR00TListenerOptions) -> None:
        self._options, self.model_id = options, options.model
        self._server: asyncio.Server | None = None
        self._sessions: PeerSessions | None = None
        self.connections: set[_Connection] = set()
        #: Set when the last of them has gone.
        self.gone = asyncio.Event()
        self.numbers = itertools.count(1)
        self.sparing = Sparing()

    async def start(self, service: PolicyService, admission: Admission, host: str, port: int) -> int:
        """See :meth:`Listener.start`."""
        self._sessions = sessions = PeerSessions(
            service, admission, lambda peer: GR00TClient(self._options), silence=self._options.silence
        )
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(partial(_Connection, self, sessions, admission), host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def drain(self) -> None:
        """See :meth:`Listener.drain`."""
        if self._server is not None:
            self._server.close()
        if self._sessions is not None:
            await self._sessions.drain()

    async def close(self) -> None:
        """See :meth:`Listener.close`."""
        server, self._server = self._server, None
        sessions, self._sessions = self._sessions, None
        if server is not None:
            server.close()
        if sessions is not None:
            await sessions.close()
        for connection in list(self.connections):
            connection.end()
        if self.connections:
            self.gone = asyncio.Event()
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self.gone.wait(), _PARTING)
        for connection in list(self.connections):  # who does not read what it was sent
            connection.abort()

    # -- what its connections ask -----------------------------------------------------------------------------------
    def make_room(self) -> bool:
        """Let go of the connection without a session that has rested the longest. Whether there was one."""
        resting = [(since, each.number, each) for each in self.connections if (since := each.rests) is not None]
        if not resting:
            return False
        longest = min(resting)[-1]
        self.connections.discard(longest)  # at once, for another may come in this turn
        longest.abort()
        return True

    def bound_held(self) -> None:
        """Let go of the connection that holds most of what has not come whole, if all of them hold too much."""
        if sum(each.held for each in self.connections) > _MOST_HELD:
            most = max(self.connections, key=lambda each: each.held)
            asyncio.get_running_loop().call_soon(most.holds_too_much)

    def keeps_too_much(self) -> bool:
        """Whether more is kept for the next messages than there should be."""
        return sum(each.kept for each in self.connections) > _MOST_KEPT


class _Connection(asyncio.BufferedProtocol):
    """One client's connection."""

    def __init__(self, listener: GR00TListener, sessions: PeerSessions, admission: Admission) -> None:
        self._listener, self._sessions, self._admission = listener, sessions, admission
        self._loop = asyncio.get_running_loop()
        self._end = ServerEnd(WireLimits().message_bytes)
        self.number = next(listener.numbers)
        self._robots = Robots(f"{self.number:08x}", sessions.__contains__)
        self._transport: asyncio.Transport | None = None
        #: Of what it sends, however small: beyond its rate it is read later, for a REQ waits for its answer anyway.
        self._frames = Bucket(admission.message_rate, self._loop.time())
        self._going_on: asyncio.TimerHandle | None = None
        #: Since when something has begun that is not whole yet; and when it last asked something.
        self._since: float | None = self._loop.time()
        self._heard = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    # -- what asyncio says ------------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        own = self._transport.get_extra_info("socket")
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self._listener.connections) >= _MOST_CONNECTIONS and not self._listener.make_room():
            self._log(f"there are {_MOST_CONNECTIONS} connections already")
            self._transport.abort()
            return
        self._listener.connections.add(self)
        self._timer = self._loop.call_later(_PATIENCE, self._look)
        self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        room = self._end.room()
        if self._end.held > _SMALL:
            self._listener.bound_held()
        return room

    def buffer_updated(self, nbytes: int) -> None:
        before = self._end.frames
        try:
            requests = self._end.received(nbytes)
        except ProtocolError as error:
            self._log(str(error))
            self.end()
            return
        if requests:
            self._heard = self._loop.time()
        if not self._end.begun:
            self._since = None
        elif requests or self._since is None:
            self._since = self._loop.time()
        self._flush()
        if not self._end.begun and self._end.held > _SMALL and self._listener.keeps_too_much():
            self._end.shrink()
        for request in requests:
            self._asked(request)
        now = self._loop.time()
        beyond = sum(not self._frames.spend(now) for _ in range(self._end.frames - before))
        if (beyond or self._end.more) and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
            self._going_on = self._loop.call_later(beyond / self._admission.message_rate, self._go_on)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if self._going_on is not None:
            self._going_on.cancel()
        self._listener.connections.discard(self)
        if not self._listener.connections:
            self._listener.gone.set()
        for identity in self._robots.known:
            self._sessions.end(identity)

    def end(self) -> None:
        """Let go of it, when what was written has gone out."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Let go of it now."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def held(self) -> int:
        """Bytes of memory that what it sends takes, before it has come whole."""
        return self._end.held if self._end.begun else 0

    @property
    def kept(self) -> int:
        """Bytes of memory that are kept for what it sends next."""
        return 0 if self._end.begun else self._end.held

    @property
    def rests(self) -> float | None:
        """Since when nothing was heard of it; None for one with a session."""
        return None if any(identity in self._sessions for identity in self._robots.known) else self._heard

    def holds_too_much(self) -> None:
        """It is the one that is let go, of those whose messages have not come whole."""
        self._log(f"messages that have not come whole take more than {_MOST_HELD:,} bytes")
        self.abort()

    # -- inside -----------------------------------------------------------------------------------------------------
    def _asked(self, request: Request) -> None:
        if request.body is None:
            self._say(request, failed_by_size())
            return
        small = read_control(request.body)
        endpoint = None if small is None else small.get("endpoint")
        try:
            identity = self._robots.identity(request.envelope)
        except BadMessage as error:
            self._say(request, failed(error))
            return
        peer = Peer("gr00t", identity, token_of(request.body), HOW)
        if endpoint == "ping" or endpoint == "kill":
            try:
                self._admission.check(peer.token, peer.how)
            except OffboardError as error:
                self._say(request, failed(error))
            else:
                self._say(request, pong() if endpoint == "ping" else refuse_kill())
            return
        try:
            self._robots.keep(identity)
        except BadMessage as error:
            self._say(request, failed(error))
            return
        self._sessions.submit(peer, request.body, partial(self._deliver, request))

    def _deliver(self, request: Request, reply: Frame | None) -> None:
        # A REQ that hears nothing waits for ever, whatever else it was told nothing for.
        self._say(request, failed(_CROWDED) if reply is None else cast("bytes", reply))

    def _say(self, request: Request, reply: bytes) -> None:
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size() > _LARGEST_BACKLOG:
            self._log("it does not read its answers")
            self.abort()
            return
        self._transport.writelines(answer(request, reply))

    def _go_on(self) -> None:
        """What came is read on, in a turn of its own; then more of it may come."""
        self._going_on = None
        if self._end.more:
            self.buffer_updated(0)
        if self._going_on is None and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _flush(self) -> None:
        if self._end.outgoing and self._transport is not None:
            self._transport.write(bytes(self._end.outgoing))
            self._end.outgoing.clear()

    def _look(self) -> None:
        """Whether what began has come whole, and whether it rests without a session."""
        now, rests = self._loop.time(), self.rests
        left = _PATIENCE if self._since is None else self._since + _PATIENCE - now
        if left <= 0:
            self._log(f"what it began {_PATIENCE:g} s ago has not come whole")
            self.abort()
            return
        if self._since is None and rests is not None:
            if rests + _REST <= now:
                self.end()
                return
            left = min(left, rests + _REST - now)
        self._timer = self._loop.call_later(left, self._look)

    def _log(self, why: str) -> None:
        if self._listener.sparing.may(why):
            log.warning("a connection to GR00T's port was ended: %s", why)


def failed_by_size() -> bytes:
    """What a client hears whose message is too long."""
    return failed(BadMessage(f"a message is at most {WireLimits().message_bytes:,} bytes; send smaller images"))
