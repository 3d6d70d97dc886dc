"""Accepting connections so that each can be let go from its first moment."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..frontends import RESERVE, lacking

if TYPE_CHECKING:
    from .protocols import HttpProtocol
    from .uvicorn_server import Config

log = logging.getLogger(__name__)

#: Seconds until it is tried again where the system gives out no connection; asyncio waits as long.
_PAUSE = 1.0


class Acceptor(asyncio.AbstractServer):
    """Accepts one connection in each turn of the loop.

    In asyncio's own server a connection is nobody's until its handshake of TLS is over: it cannot be counted, nor let
    go when file descriptors run short. Here it has its protocol, and with it its clock and its place among those that
    make room, as soon as it is accepted.
    """

    def __init__(self, listener: socket.socket, config: Config, make_protocol: Callable[[], HttpProtocol]) -> None:
        self._listener, self._config, self._make_protocol = listener, config, make_protocol
        self._loop = asyncio.get_running_loop()
        self._openings: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        listener.listen(config.backlog)
        self._go_on()

    def close(self) -> None:
        """Accept no more connections; a handshake that is not over ends. What was accepted is uvicorn's to close."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)
        for opening in self._openings:
            opening.cancel()

    async def wait_closed(self) -> None:
        """Return when no handshake is left."""
        await asyncio.gather(*self._openings, return_exceptions=True)

    def _go_on(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            log.warning("cannot accept a connection: %s; trying again in %g s", error.strerror, _PAUSE)
            self._make_room(RESERVE)
            self._loop.remove_reader(self._listener)
            self._pause = self._loop.call_later(_PAUSE, self._go_on)
            return
        connection.setblocking(False)
        missing = lacking(connection.fileno())
        scarce = missing > self._make_room(missing)
        protocol = self._make_protocol()
        opening = self._loop.create_task(self._open(connection, protocol))
        self._openings.add(opening)
        opening.add_done_callback(self._openings.discard)
        # What is cancelled before it began has not taken the socket over.
        opening.add_done_callback(lambda ended: connection.close() if ended.cancelled() else None)
        protocol.accepted(opening, scarce=scarce)

    async def _open(self, connection: socket.socket, protocol: HttpProtocol) -> None:
        tls: dict[str, Any] = {}
        if self._config.ssl is not None:
            # The protocol's own clock runs already; this is for a limit above asyncio's, which is 60 s.
            tls = {"ssl": self._config.ssl, "ssl_handshake_timeout": self._config.bounds.request_timeout}
        with contextlib.suppress(OSError):  # the peer is gone, or speaks no TLS
            await self._loop.connect_accepted_socket(lambda: protocol, connection, **tls)

    def _make_room(self, count: int) -> int:
        """How many of so many could be let go."""
        oldest = list(itertools.islice(self._config.waiting, count))
        for one in oldest:
            one.make_room()
        return len(oldest)
