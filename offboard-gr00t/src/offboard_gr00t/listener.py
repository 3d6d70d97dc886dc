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

from offboard_client.errors import BadMessage, OffboardError
from offboard_client.wire import WireLimits
from offboard_core.engine import PolicyService
from offboard_core.frontends import Admission, Bucket, Frame, Listener, Peer, PeerSessions, Sparing, read_control

from .client import HOW, GR00TClient, failed, pong, refuse_kill, token_of
from .options import GR00TListenerOptions
from .zmtp import ProtocolError, Request, ServerEnd, answer

log = logging.getLogger(__name__)

#: Seconds in which a connection has introduced itself, and in which a message that began has come whole.
_PATIENCE = 60.0
#: Seconds in which what was written last goes out, when the server ends.
_PARTING = 1.0
#: Connections at most, whether they have a session or not; and what one may leave unread of its answers.
_MOST_CONNECTIONS, _LARGEST_BACKLOG = 1024, 8 * 2**20
#: Bytes that messages which have not come whole may take, all together: who sends them need not have shown a token yet.
_MOST_HELD = 512 * 2**20
#: A connection that takes no more is not the one that takes too much.
_SMALL = 2**20


class GR00TListener(Listener):
    """Sessions of GR00T's clients, by connection."""

    def __init__(self, options: GR00TListenerOptions) -> None:
        self._options = options
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


class _Connection(asyncio.BufferedProtocol):
    """One client's connection."""

    def __init__(self, listener: GR00TListener, sessions: PeerSessions, admission: Admission) -> None:
        self._listener, self._sessions, self._admission = listener, sessions, admission
        self._loop = asyncio.get_running_loop()
        self._end = ServerEnd(WireLimits().message_bytes)
        self._identity = f"{next(listener.numbers):08x}"
        self._transport: asyncio.Transport | None = None
        self._small = Bucket(admission.message_rate, self._loop.time())
        #: Since when something has begun that is not whole yet.
        self._since: float | None = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    # -- what asyncio says ------------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        own = self._transport.get_extra_info("socket")
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self._listener.connections) >= _MOST_CONNECTIONS:
            self._log(f"there are {_MOST_CONNECTIONS} connections already")
            self._transport.abort()
            return
        self._listener.connections.add(self)
        self._timer = self._loop.call_later(_PATIENCE, self._look)
        self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        room = self._end.room()
        if self._end.held > _SMALL and sum(each.held for each in self._listener.connections) > _MOST_HELD:
            self._log(f"messages that have not come whole take more than {_MOST_HELD:,} bytes")
            self._loop.call_soon(self.abort)
        return room

    def buffer_updated(self, nbytes: int) -> None:
        try:
            requests = self._end.received(nbytes)
        except ProtocolError as error:
            self._log(str(error))
            self.end()
            return
        if not self._end.begun:
            self._since = None
        elif requests or self._since is None:
            self._since = self._loop.time()
        self._flush()
        for request in requests:
            self._asked(request)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._listener.connections.discard(self)
        if not self._listener.connections:
            self._listener.gone.set()
        self._sessions.end(self._identity)

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
        return self._end.held

    # -- inside -----------------------------------------------------------------------------------------------------
    def _asked(self, request: Request) -> None:
        if request.body is None:
            self._say(request, failed_by_size())
            return
        small = read_control(request.body)
        endpoint = None if small is None else small.get("endpoint")
        peer = Peer("gr00t", self._identity, token_of(request.body), HOW)
        if endpoint == "ping" or endpoint == "kill":
            if not self._small.spend(self._loop.time()):
                return
            try:
                self._admission.check(peer.token, peer.how)
            except OffboardError as error:
                self._say(request, failed(error))
            else:
                self._say(request, pong() if endpoint == "ping" else refuse_kill())
            return
        self._sessions.submit(peer, request.body, partial(self._deliver, request))

    def _deliver(self, request: Request, reply: Frame | None) -> None:
        if reply is not None:
            self._say(request, cast("bytes", reply))

    def _say(self, request: Request, reply: bytes) -> None:
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size() > _LARGEST_BACKLOG:
            self._log("it does not read its answers")
            self.abort()
            return
        self._transport.writelines(answer(request, reply))

    def _flush(self) -> None:
        if self._end.outgoing and self._transport is not None:
            self._transport.write(bytes(self._end.outgoing))
            self._end.outgoing.clear()

    def _look(self) -> None:
        """Whether what began has come whole; a connection that only rests may."""
        left = _PATIENCE if self._since is None else self._since + _PATIENCE - self._loop.time()
        if left <= 0:
            self._log(f"what it began {_PATIENCE:g} s ago has not come whole")
            self.abort()
            return
        self._timer = self._loop.call_later(left, self._look)

    def _log(self, why: str) -> None:
        if self._listener.sparing.may(why):
            log.warning("a connection to GR00T's port was ended: %s", why)


def failed_by_size() -> bytes:
    """What a client hears whose message is too long."""
    return failed(BadMessage(f"a message is at most {WireLimits().message_bytes:,} bytes; send smaller images"))
