"""GR00T's port: robots that run GR00T's own client, of any generation, drive any model that is served here.

GR00T's own server is one REP socket: who asks waits for everybody before. Here each connection has a session of its
own, and ``ping`` is answered while others infer.
"""

from __future__ import annotations

import asyncio
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
_PATIENCE = 20.0
#: Connections at most, whether they have a session or not; and what one may leave unread of its answers.
_MOST_CONNECTIONS, _LARGEST_BACKLOG = 1024, 8 * 2**20


class GR00TListener(Listener):
    """Sessions of GR00T's clients, by connection."""

    def __init__(self, options: GR00TListenerOptions) -> None:
        self._options = options
        self._server: asyncio.Server | None = None
        self._sessions: PeerSessions | None = None
        self.connections: set[_Connection] = set()
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


class _Connection(asyncio.BufferedProtocol):
    """One client's connection."""

    def __init__(self, listener: GR00TListener, sessions: PeerSessions, admission: Admission) -> None:
        self._listener, self._sessions, self._admission = listener, sessions, admission
        self._loop = asyncio.get_running_loop()
        self._end = ServerEnd(WireLimits().message_bytes)
        self._identity = f"{next(listener.numbers):08x}"
        self._transport: asyncio.Transport | None = None
        self._small = Bucket(admission.message_rate, self._loop.time())
        self._progress = self._loop.time()
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
        return self._end.room()

    def buffer_updated(self, nbytes: int) -> None:
        self._progress = self._loop.time()
        try:
            requests = self._end.received(nbytes)
        except ProtocolError as error:
            self._log(str(error))
            self.end()
            return
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
        self._sessions.end(self._identity)

    def end(self) -> None:
        """Let go of it, when what was written has gone out."""
        if self._transport is not None:
            self._transport.close()

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
            self._transport.abort()
            return
        self._transport.writelines(answer(request, reply))

    def _flush(self) -> None:
        if self._end.outgoing and self._transport is not None:
            self._transport.write(bytes(self._end.outgoing))
            self._end.outgoing.clear()

    def _look(self) -> None:
        """Whether what began goes on; a connection that only rests may."""
        left = self._progress + _PATIENCE - self._loop.time()
        if left <= 0 and self._end.begun:
            self._log(f"it began something {_PATIENCE:g} s ago and did not go on")
            if self._transport is not None:
                self._transport.abort()
            return
        self._timer = self._loop.call_later(left if left > 0 else _PATIENCE, self._look)

    def _log(self, why: str) -> None:
        if self._listener.sparing.may(why):
            log.warning("a connection to GR00T's port was ended: %s", why)


def failed_by_size() -> bytes:
    """What a client hears whose message is too long."""
    return failed(BadMessage(f"a message is at most {WireLimits().message_bytes:,} bytes; send smaller images"))
