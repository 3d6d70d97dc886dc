"""openpi's wire, spoken by a client that waits for nothing without a limit.

Its server sends the policy's metadata first, then answers each observation. Its event loop stands still while it
infers, so it answers no pings meanwhile, and none are sent to it. After every error it sends the traceback as text and
closes the socket: an error costs one request and one reconnect.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from offboard_client import wire
from offboard_client._forms import read_forms
from offboard_client.errors import BadMessage, InferTimeout, PolicyFailed
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.protocol import State
from websockets.sync.client import ClientConnection, connect

#: Replies are action chunks: kilobytes.
_LARGEST_REPLY = 32 * 2**20
#: Seconds for a socket to open on a server that is there.
OPEN_TIMEOUT = 10.0


class Unreachable(Exception):
    """Nobody answers there, or what answers is no openpi server; the text says which."""


class Lost(Exception):
    """The socket broke in the middle of an exchange."""


class Connection:
    """An open socket to an openpi server. ``metadata``: what its policy says of itself. For one thread."""

    def __init__(self, url: str, timeout: float = OPEN_TIMEOUT) -> None:
        """Raises Unreachable within ``timeout`` seconds, or about that."""
        self._encoder = wire.Encoder()
        self._stack = contextlib.ExitStack()
        try:
            self._socket: ClientConnection = self._stack.enter_context(
                connect(
                    url,
                    compression=None,
                    max_size=_LARGEST_REPLY,
                    ping_interval=None,
                    open_timeout=timeout,
                    proxy=None,
                )
            )
        except (OSError, WebSocketException) as error:
            raise Unreachable(f"{url}: {type(error).__name__}: {error}") from None
        # openpi's loop may stand still for minutes; nobody waits for its half of the closing handshake.
        self._socket.close_timeout = 0.05
        try:
            metadata = self._decode(self._socket.recv(timeout))
        except (OSError, WebSocketException, PolicyFailed) as error:
            self.close()
            raise Unreachable(f"{url} is no openpi server: {type(error).__name__}: {error}") from None
        self.metadata: Mapping[str, Any] = metadata

    @property
    def open(self) -> bool:
        """Whether the server has not closed it meanwhile."""
        return self._socket.protocol.state is State.OPEN

    def send(self, inputs: Mapping[str, Any]) -> None:
        """Send one observation. Raises Lost."""
        try:
            with self._encoder.encode(inputs) as frame:
                self._socket.send(frame)
        except (OSError, ConnectionClosed) as error:
            raise Lost(f"{type(error).__name__}: {error}") from None

    def receive(self, timeout: float) -> dict[str, Any]:
        """The reply. Raises PolicyFailed for openpi's own error, InferTimeout, or Lost."""
        try:
            return self._decode(self._socket.recv(timeout))
        except TimeoutError:
            raise InferTimeout(f"openpi did not answer within {timeout:g} s") from None
        except (OSError, ConnectionClosed) as error:
            raise Lost(f"{type(error).__name__}: {error}") from None

    def close(self) -> None:
        """Close the socket."""
        with contextlib.suppress(OSError, WebSocketException):
            self._stack.close()

    @staticmethod
    def _decode(frame: str | bytes) -> dict[str, Any]:
        if isinstance(frame, str):
            raise PolicyFailed(f"openpi failed: {last_line(frame)}")
        try:
            value = read_forms(wire.decode(frame))
        except BadMessage as error:
            raise PolicyFailed(f"openpi answered what cannot be read: {error.text}") from None
        if not isinstance(value, dict):
            raise PolicyFailed(f"openpi answered a {type(value).__name__}, expected a map")
        return value


def last_line(traceback: str) -> str:
    """What a Python traceback comes down to."""
    lines = [line.strip() for line in traceback.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "it did not say why"
