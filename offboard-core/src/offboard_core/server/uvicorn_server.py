"""uvicorn as this server runs it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import weakref
from collections.abc import Generator, Mapping
from functools import cache
from typing import Any

import uvicorn
from offboard_client.errors import ConfigurationError
from offboard_client.wire import WireLimits

from .acceptor import Acceptor
from .config import ServerConfig
from .door import Door
from .protocols import HttpProtocol
from .voice import Guarded
from .websocket import WebSocketProtocol

#: What a message may have above its limit (E-12) before the socket is cut off instead of closed. A close frame that
#: follows on unread data may never reach the client, so a message that is only a little too large is read to its end.
CUT_OFF = 2**20
#: Seconds that clients have to take the end of their connections, and then the requests that are still answered.
_FAREWELL = 1.0


class Config(uvicorn.Config):
    """``bounds``: what the protocols hold a client to. ``waiting``: connections whose request has not come yet.

    ``pong_timeouts``: seconds for a pong by WebSocket path, where they are not those of ``bounds``. ``door``: where
    clients on this machine hand over memory.
    """

    def __init__(
        self, app: Any, bounds: ServerConfig, pong_timeouts: Mapping[str, float] | None = None, door: Door | None = None
    ) -> None:
        """Raises ConfigurationError where TLS cannot be served."""
        if bounds.ssl_keyfile is not None and bounds.ssl_certfile is None:
            raise ConfigurationError("--ssl-keyfile is given without --ssl-certfile; TLS needs the certificate")
        super().__init__(
            app,
            http=HttpProtocol,
            # Made of websockets-sansio: its back-pressure holds two frames of a flood, uvicorn's default thirty-two.
            ws=WebSocketProtocol,
            ws_max_size=WireLimits().message_bytes + CUT_OFF,
            ws_ping_interval=bounds.ping_interval,
            ws_ping_timeout=bounds.ping_timeout,
            ws_per_message_deflate=False,  # 8 ms for a pair of 224×224 images, and nothing gained on a picture
            lifespan="off",
            access_log=False,
            server_header=False,
            ssl_certfile=bounds.ssl_certfile,
            ssl_keyfile=bounds.ssl_keyfile,
        )
        self.bounds, self.pong_timeouts, self.door = bounds, pong_timeouts or {}, door
        self.waiting: dict[HttpProtocol, None] = {}
        try:
            self.load()
        except OSError as error:  # what ssl raises is one, too
            raise ConfigurationError(
                f"cannot serve TLS with the certificate {bounds.ssl_certfile} and the key "
                f"{bounds.ssl_keyfile or 'in the same file'}: {error}"
            ) from None

    def configure_logging(self) -> None:
        """Leave uvicorn's loggers to the process; see :mod:`.protocols`."""


class UvicornServer(uvicorn.Server):
    """uvicorn, which leaves the process's signals to the process, and closes what does not close by itself."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._config = config
        self.listening = asyncio.Event()
        _watch_forks()
        _servers.add(self)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        acceptors: list[Any] = [Acceptor(sock, self._config, self._protocol) for sock in sockets or ()]
        self.servers = acceptors
        self.started = True
        self.listening.set()

    def _protocol(self) -> HttpProtocol:
        return HttpProtocol(config=self.config, server_state=self.server_state, app_state={})

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close every connection, at last by force: a client may not read, and uvloop and TLS would wait for it."""
        # Not by uvicorn's own time: a loop that was kept so long took it for over, and logged an error about nothing.
        loop = asyncio.get_running_loop()

        def cut() -> None:
            self._cut_off()
            ends.append(loop.call_later(_FAREWELL, self._leave))

        ends = [loop.call_later(_FAREWELL, cut)]
        try:
            await super().shutdown(sockets)
        finally:
            for end in ends:
                end.cancel()
            self._cut_off()

    def _cut_off(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    def _leave(self) -> None:
        for task in self.server_state.tasks:
            task.cancel()
        self.force_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """None."""
        yield


_servers: weakref.WeakSet[UvicornServer] = weakref.WeakSet()


@cache
def _watch_forks() -> None:
    os.register_at_fork(after_in_child=_leave_connections)


def _leave_connections() -> None:
    """In a process that a policy forked: a client hears of the end of its connection when nobody holds it any more."""
    for server in list(_servers):
        for protocol in list(server.server_state.connections):
            transport: Any = getattr(protocol, "transport", None)
            if isinstance(transport, Guarded):
                transport.forked()
            if transport is not None and not transport.is_closing():
                os.close(transport.get_extra_info("socket").fileno())
