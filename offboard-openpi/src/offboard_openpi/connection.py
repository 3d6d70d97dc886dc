"""openpi's wire, spoken by a client that waits for nothing without a limit.

Its server sends the policy's metadata first, then answers each observation. Its event loop stands still while it
infers, so it answers no pings meanwhile. After every error it sends the traceback as text and closes the socket: an
error costs one request and one reconnect.

Nothing numbers its answers. A ping goes out just before each observation: a server that takes in one after the other
answers it before it begins to infer, so that what comes before the pong was said of an earlier observation.

websockets' own clients wait for ever for a server that reads nothing, so only its protocol is used here; the socket is
ours, and each wait on it is a part of one call's time.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import time
from collections import deque
from collections.abc import Generator, Mapping
from typing import Any

from offboard_client.errors import BadMessage, InferTimeout, PolicyFailed, told
from offboard_client.wire import Encoder, read_openpi
from offboard_core.process import Stale
from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

#: Replies are action chunks: kilobytes.
_LARGEST_REPLY = 32 * 2**20
_READ_BYTES = 65536
#: How much an idle server may have said between two observations; pings are a few bytes.
_MOST_READS = 64
#: Seconds for a socket to open on a server that is there.
OPEN_TIMEOUT = 10.0

log = logging.getLogger(__name__)


class Unreachable(ConnectionError):
    """Nobody answers there, or what answers is no openpi server; the text says which."""


class Lost(ConnectionError):
    """The socket broke in the middle of an exchange."""


class Connection:
    """An open socket to an openpi server. ``metadata``: what its policy says of itself.

    For one thread, but for :meth:`close`, which ends whatever that thread waits for.
    """

    def __init__(self, url: str, timeout: float = OPEN_TIMEOUT) -> None:
        """Raises Unreachable within ``timeout`` seconds, or about that."""
        deadline = time.monotonic() + timeout
        self._encoder = Encoder()
        #: With each message, whether the pong to the last ping came before it began.
        self._messages: deque[tuple[str | bytes, bool]] = deque()
        self._ping, self._ponged, self._began_after = 0, False, False
        #: Whether the server's pongs come before its answers; None before the first answer, which no other can precede.
        self._in_order: bool | None = None
        self._fragments = bytearray()
        self._text = False
        #: Whether an observation was sent that is not answered yet.
        self.busy = False
        try:
            # Its log would hold the request's headers, and with them a password in the URL.
            silent = logging.Logger("offboard_openpi.websocket", logging.CRITICAL)
            self._protocol = ClientProtocol(parse_uri(url), max_size=_LARGEST_REPLY, logger=silent)
            self._socket = _reach(self._protocol, deadline)
        except (OSError, ValueError, WebSocketException) as error:
            raise Unreachable(f"{url}: {_spell(error)}") from None
        try:
            self._protocol.send_request(self._protocol.connect())
            self._flush(deadline)
            #: The metadata as they came; equal for equal policies.
            self.said, _ = self._next(deadline)
            self.metadata: Mapping[str, Any] = self._decode(self.said)
        except (OSError, PolicyFailed, WebSocketException) as error:
            self.close()
            raise Unreachable(f"{url} is no openpi server: {_spell(error)}") from None
        except BaseException:
            self.close()
            raise

    def usable(self) -> bool:
        """Whether an observation may be sent: what came meanwhile is taken, pings are answered.

        False if the server has closed it, or has said what nobody asked for: that would be taken for the next reply.
        """
        try:
            for _ in range(_MOST_READS):
                self._socket.settimeout(0)
                self._feed(self._socket.recv(_READ_BYTES))
                self._flush(time.monotonic() + OPEN_TIMEOUT)
                if self._unasked() or self._protocol.state is not State.OPEN:
                    break
            else:
                return False
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except OSError:
            return False
        if self._unasked():
            log.warning("openpi said something that was not asked for: it is not used, and a new connection is made")
            return False
        return self._protocol.state is State.OPEN

    def ask(self, inputs: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """The reply to one observation. Raises PolicyFailed for openpi's own error, InferTimeout, Lost or Stale."""
        deadline = time.monotonic() + timeout
        try:
            self._send(inputs, deadline)
            return self._receive(deadline)
        except TimeoutError:
            raise InferTimeout(f"openpi did not answer within {timeout:g} s (--openpi-timeout)") from None

    def send(self, inputs: Mapping[str, Any]) -> None:
        """Send one observation to a server that waits for it. Raises Lost."""
        try:
            self._send(inputs, time.monotonic() + OPEN_TIMEOUT)
        except TimeoutError:
            raise Lost("it reads nothing") from None

    def receive(self, timeout: float) -> dict[str, Any] | None:
        """The reply to :meth:`send`, None if it takes longer. Raises PolicyFailed or Lost."""
        try:
            return self._receive(time.monotonic() + timeout)
        except TimeoutError:
            return None

    def close(self) -> None:
        """Close the socket at once: openpi's loop may stand still for minutes, and says no goodbye meanwhile."""
        with contextlib.suppress(OSError):
            if not self.busy and self._protocol.state is State.OPEN:
                self._protocol.send_close()
                self._socket.settimeout(0)
                self._socket.send(b"".join(self._protocol.data_to_send()))
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    # -- inside ---------------------------------------------------------------------------------------------
    def _send(self, inputs: Mapping[str, Any], deadline: float) -> None:
        if self._protocol.state is not State.OPEN:
            raise Lost(_ending(self._protocol))
        with self._encoder.encode(inputs) as frame:
            self._ping, self._ponged = self._ping + 1, False
            self._protocol.send_ping(b"%d" % self._ping)
            self._protocol.send_binary(frame)
        self.busy = True
        with _breaking():
            self._flush(deadline)

    def _receive(self, deadline: float) -> dict[str, Any]:
        with _breaking():
            message, ponged = self._next(deadline)
        if self._in_order is None:
            self._in_order = ponged
        elif self._in_order and not ponged:
            raise Stale("openpi answered once more what it had answered")
        self.busy = False
        return self._decode(message)

    def _next(self, deadline: float) -> tuple[str | bytes, bool]:
        """The next message. Raises TimeoutError, another OSError, Lost, or what is wrong with the handshake."""
        while not self._messages:
            if self._protocol.handshake_exc is not None:
                raise self._protocol.handshake_exc
            if self._protocol.state not in (State.CONNECTING, State.OPEN):
                raise Lost(_ending(self._protocol))
            self._socket.settimeout(_left(deadline))
            self._feed(self._socket.recv(_READ_BYTES))
            try:
                self._flush(deadline)
            except OSError:
                if not self._messages:
                    raise
                self.close()  # it has answered, and listens no more
        return self._messages.popleft()

    def _unasked(self) -> bool:
        return bool(self._messages or self._fragments or self._protocol.reader.buffer)

    def _feed(self, data: bytes) -> None:
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG and bytes(frame.data) == b"%d" % self._ping:
            self._ponged = True
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        if frame.opcode is not Opcode.CONT:
            self._text, self._began_after = frame.opcode is Opcode.TEXT, self._ponged
        self._fragments += frame.data
        if frame.fin:
            whole = bytes(self._fragments)
            self._fragments.clear()
            self._messages.append((whole.decode("utf-8", "replace") if self._text else whole, self._began_after))

    def _flush(self, deadline: float) -> None:
        """Send what the protocol wants to be sent: observations, pongs, a close."""
        for data in self._protocol.data_to_send():
            left = memoryview(data)
            while left:
                self._socket.settimeout(_left(deadline))
                left = left[self._socket.send(left) :]

    @staticmethod
    def _decode(frame: str | bytes) -> dict[str, Any]:
        try:
            return read_openpi(frame)
        except BadMessage as error:
            raise PolicyFailed(f"openpi answered what cannot be read: {error.text}") from None


def _reach(protocol: ClientProtocol, deadline: float) -> socket.socket:
    uri = protocol.uri
    raw = socket.create_connection((uri.host, uri.port), timeout=_left(deadline))
    try:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.settimeout(_left(deadline))
        return ssl.create_default_context().wrap_socket(raw, server_hostname=uri.host) if uri.secure else raw
    except BaseException:
        raw.close()
        raise


@contextlib.contextmanager
def _breaking() -> Generator[None]:
    """Tells a socket that broke, the network's own time-out included, from an exchange that took too long."""
    try:
        yield
    except OSError as error:
        if isinstance(error, TimeoutError) and error.errno is None:
            raise
        raise Lost(_spell(error)) from None


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("it took too long")
    return left


def _ending(protocol: ClientProtocol) -> str:
    if protocol.close_rcvd is not None:
        return f"it closed the connection ({str(protocol.close_rcvd).strip()})"
    if protocol.parser_exc is not None and not isinstance(protocol.parser_exc, EOFError):
        return f"it sent what cannot be read: {protocol.parser_exc}"
    return "it closed the connection without a word"


def _spell(error: Exception) -> str:
    return str(error) if isinstance(error, Lost) else told(error)
