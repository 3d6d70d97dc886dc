"""What serves pages where nothing else does: uvicorn on a port of this machine."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Generator
from types import TracebackType

import uvicorn

from ..errors import ConfigurationError
from ..protocol import TOKEN_VARIABLE, bracketed, listen_host
from .access import is_loopback
from .http import ASGIApp

#: Seconds that browsers have to take the last of what they asked for.
_FAREWELL = 2


class PageServer:
    """``app`` on a port that is open from the beginning; a context that closes it.

    Without ``token`` it listens to this machine only. ``address``: with the port that was taken, where 0 was asked for.
    ``flags``: what the options begin with that errors name.
    Raises ConfigurationError for an address or a port that cannot be had.
    """

    def __init__(
        self, app: ASGIApp, host: str = "127.0.0.1", port: int = 0, *, token: str | None = None, flags: str = ""
    ) -> None:
        host = listen_host(host)
        if token is None and not is_loopback(host):
            raise ConfigurationError(
                f"{host} is reached from other machines: give the pages a token "
                f"({f'--{flags}token-file FILE' if flags else f'--auth-token-file FILE, or {TOKEN_VARIABLE}'}), or "
                f"leave --{flags}host away"
            )
        if not 0 <= port <= 65535:
            raise ConfigurationError(f"the port is {port}; expected 0 (a free one) to 65535")
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            self._socket = socket.create_server(address[:2], family=family)
        except OSError as error:
            raise ConfigurationError(
                f"no page can be served at {bracketed(host)}:{port}: {error.strerror or error}; "
                f"--{flags}port 0 takes a free one"
            ) from None
        self.address: tuple[str, int] = (host, self._socket.getsockname()[1])
        self._server = _Server(
            uvicorn.Config(
                app, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
                timeout_graceful_shutdown=_FAREWELL,
            )
        )  # fmt: skip

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://{bracketed(self.address[0])}:{self.address[1]}/"

    def serve(self) -> None:
        """Until :meth:`stop`, on a loop of its own; on any thread. Signals are the process's."""
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Let :meth:`serve` return, from any thread or a signal's handler."""
        self._server.should_exit = True

    def __enter__(self) -> PageServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """None: a run has its own."""
        yield
