"""A server and the way to it, looked at from outside: what each step takes, and how long bytes are on their way.

Nothing is asked of a model. What is sent is one message in pieces, and a ping behind each: any WebSocket server answers
that when it has read what was before. The message means nothing, and ends with the connection, if at all.
"""

from __future__ import annotations

import logging
import secrets
import socket
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any, cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from ..errors import BadMessage, ConnectionFailed, ConnectionLost, InferTimeout, OffboardError
from ..protocol import (
    AttemptFailed,
    BaseClient,
    Deadline,
    Settings,
    bracketed,
    from_os_error,
    from_response,
    told_error,
)
from ..wire import CLOSE_NORMAL
from .http import Answer, look
from .sockets import Steps, Tried, reach, resolve, tune

# In nobody's hierarchy: websockets logs the headers, and with them the token.
_unheard = logging.Logger("offboard_client.link", logging.CRITICAL)
_READ_BYTES = 8192
#: Of one message of the server's, and of all that it says while it is looked at: a handshake has a few kilobytes.
#: Frames are counted too, for the smallest cost more to read than to send.
_MESSAGE_BYTES, _MOST_BYTES, _MOST_FRAMES, _MESSAGES = 2**20, 2**22, 2000, 16
#: A byte with which no msgpack begins.
_NOTHING = b"\xc1"
_GOODBYE_S = 5.0


class LinkClient(BaseClient[Any]):
    """Looks at a server; made as :class:`InferenceClient` is. Holds no connection of its own."""

    @property
    def server(self) -> str:
        """The server's address."""
        return str(self._settings.address)

    @property
    def named(self) -> bool:
        """Whether the address named a model."""
        return self._settings.address.model_id is not None

    def connect(self) -> Steps:
        """Connect, and let go. Raises ConnectionFailed where nobody takes the connection."""
        raw, steps = _connect(self._settings, self._deadline())
        raw.close()
        return steps

    def get(self, path: str) -> Answer:
        """What the server answers to a GET of ``path`` below its base. Raises ConnectionFailed or BadMessage."""
        try:
            return look(self._settings, self._deadline(), path)
        except AttemptFailed as failed:
            raise failed.error from None

    def session(self, model_id: str | None = None, *, ends_message: bool = True) -> Link:
        """A session's WebSocket, with a server that speaks the protocol. ``ends_message``: as of :class:`Link`.

        Raises what a session that is opened raises.
        """
        url = self._settings.address.session_url(model_id, self._settings.params)
        return Link(self._settings, url, ends_message=ends_message)

    def root(self) -> Link:
        """A WebSocket at the address itself, where openpi's servers have theirs."""
        address = self._settings.address
        scheme = "wss" if address.secure else "ws"
        return Link(self._settings, f"{scheme}://{bracketed(address.name)}:{address.port}{address.base or '/'}")

    def _deadline(self) -> Deadline:
        return Deadline(self._settings.clock.now, self._settings.timeouts.connect)


class Link:
    """One WebSocket whose way is measured. Seconds throughout; every wait ends with ``infer_timeout``.

    ``ends_message``: whether the message is whole in the end. offboard's server takes it for none (``bad_message``) and
    gives the model back at once, which it keeps for who is cut off in the middle of one. Others would take it for an
    observation, and fail.
    """

    def __init__(self, settings: Settings, url: str, *, ends_message: bool = False) -> None:
        self._ends_message = ends_message
        self._settings, self._now = settings, settings.clock.now
        self._pings = self._read = self._frames = self._sent = 0
        self._ponged = b""
        #: The first messages of the server, as they came.
        self.messages: list[bytes] = []
        self._protocol = ClientProtocol(
            parse_uri(url), extensions=[ClientPerMessageDeflateFactory()], max_size=_MESSAGE_BYTES, logger=_unheard
        )
        request = self._protocol.connect()
        for name, value in settings.headers.items():
            request.headers[name] = value
        self._protocol.send_request(request)
        deadline = Deadline(self._now, settings.timeouts.connect)
        self._socket, self.steps = _connect(settings, deadline)
        try:
            self._flush(deadline)
            while self._protocol.state is State.CONNECTING and self._protocol.handshake_exc is None:
                self._receive(deadline)
        except BaseException as error:
            self._socket.close()
            if isinstance(error, OSError) and not isinstance(error, OffboardError):
                raise from_os_error(error, settings.address).error from None
            raise
        if self._protocol.handshake_exc is not None:
            self._socket.close()
            raise self._refused(self._protocol.handshake_exc)

    @property
    def compresses(self) -> bool:
        """Whether the server took the offer to compress messages (permessage-deflate)."""
        return any(isinstance(each, PerMessageDeflate) for each in self._protocol.extensions)

    @property
    def socket(self) -> socket.socket:
        """The socket, to be asked what the kernel knows of it."""
        return self._socket

    @property
    def sent_bytes(self) -> int:
        """Of the message, so far."""
        return self._sent

    def trip(self, size: int = 0) -> float:
        """Seconds until the server has read ``size`` bytes more, and said so. 0: a ping alone.

        Raises InferTimeout if it did not in time, ConnectionLost, with what the server said goodbye with, if it left.
        """
        self._pings += 1
        word = b"%d" % self._pings
        # What cannot be made smaller on the way, as an image cannot.
        data = secrets.token_bytes(size) if self._sent else _NOTHING + secrets.token_bytes(max(0, size - 1))
        piece = Frame(Opcode.CONT if self._sent else Opcode.BINARY, data, fin=False)
        out = (piece.serialize(mask=True) if size else b"") + Frame(Opcode.PING, word).serialize(mask=True)
        self._sent += size
        deadline = Deadline(self._now, self._settings.timeouts.infer)
        try:
            began = self._now()
            self._send(out, deadline)
            while self._ponged != word:
                self._receive(deadline)
            return self._now() - began
        except ConnectionLost:
            raise
        except TimeoutError:
            waited = self._settings.timeouts.infer
            missing = f"read {size:,} bytes, or not said so," if size else "answered a ping"
            raise InferTimeout(f"{self._where} has not {missing} in {waited:g} s") from None
        except OSError as error:
            raise ConnectionLost(f"the connection to {self._where} broke: {error}") from None

    def rest(self, seconds: float) -> None:
        """Say nothing for so long."""
        self._settings.clock.sleep(seconds)

    def close(self) -> None:
        """Say goodbye, wait for the server's answer for a moment, close. Never raises; may be repeated."""
        deadline = Deadline(self._now, _GOODBYE_S)
        try:
            if self._protocol.state is State.OPEN:
                if self._ends_message and self._sent:
                    self._send(Frame(Opcode.CONT, b"").serialize(mask=True), deadline)
                self._protocol.send_close(CLOSE_NORMAL)
                self._flush(deadline)
                while self._protocol.close_rcvd is None:
                    self._receive(deadline)
        except OSError:  # ConnectionLost is one
            pass
        finally:
            self._socket.close()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # -- inside ----------------------------------------------------------------------------------------
    @property
    def _where(self) -> str:
        return str(self._settings.address)

    def _flush(self, deadline: Deadline) -> None:
        self._send(b"".join(self._protocol.data_to_send()), deadline)

    def _send(self, data: bytes, deadline: Deadline) -> None:
        rest = memoryview(data)
        while rest.nbytes:
            self._socket.settimeout(deadline.left())
            rest = rest[self._socket.send(rest) :]

    def _receive(self, deadline: Deadline) -> None:
        self._socket.settimeout(deadline.left())
        data = self._socket.recv(_READ_BYTES)
        if not data:
            self._protocol.receive_eof()
        else:
            self._read += len(data)
            self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
        if self._protocol.handshake_exc is not None:
            return  # it is told with what it is
        if self._protocol.close_rcvd is not None or self._protocol.parser_exc is not None or not data:
            said, cause = self._protocol.close_rcvd, self._protocol.parser_exc
            how = f" ({said.code} {said.reason})" if said is not None else f" ({cause})" if cause and data else ""
            why = told_error(self.messages)  # a close frame has room for a word
            raise ConnectionLost(f"{self._where}: {why}" if why else f"{self._where} closed the connection{how}")
        if self._read > _MOST_BYTES or self._frames > _MOST_FRAMES:
            raise ConnectionLost(f"{self._where} sends without end what nobody asked for: {self._read:,} bytes")
        self._flush(deadline)

    def _take(self, frame: Frame) -> None:
        self._frames += 1
        if frame.opcode is Opcode.PONG:
            self._ponged = bytes(frame.data)
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY) and frame.fin and len(self.messages) < _MESSAGES:
            self.messages.append(bytes(frame.data))

    def _refused(self, error: Exception) -> Exception:
        if isinstance(error, InvalidStatus):
            answer = error.response
            headers = cast("Mapping[str, str]", answer.headers)
            return from_response(answer.status_code, headers, bytes(answer.body or b""), self._settings.address).error
        if isinstance(error, EOFError):
            return ConnectionFailed(f"{self._where} closed the connection before it was a WebSocket")
        return BadMessage(f"{self._where} does not answer as a WebSocket server ({error})")


def _connect(settings: Settings, deadline: Deadline) -> tuple[socket.socket, Steps]:
    """As every connection is made here, with a watch. Raises ConnectionFailed."""
    now, address, tried = settings.clock.now, settings.address, list[Tried]()
    began = marked = now()

    def note(where: Any, error: OSError | None) -> None:
        nonlocal marked
        before, marked = marked, now()
        failed = "" if error is None else str(error) or type(error).__name__
        tried.append(Tried(str(where[0]), marked - before, failed))

    try:
        found = resolve(address, deadline)
        marked = resolved = now()
        raw = reach(found, deadline, note)
    except OSError as error:
        raise from_os_error(error, address, absent=True).error from None
    steps = Steps(resolved - began, tuple(tried))
    try:
        tune(raw)
        if settings.tls is None:
            return raw, steps
        began = now()
        raw.settimeout(deadline.left())
        secured = settings.tls.wrap_socket(raw, server_hostname=address.name)
        return secured, Steps(steps.resolve_s, steps.tried, now() - began, _version(secured))
    except OSError as error:
        raw.close()
        raise from_os_error(error, address).error from None
    except BaseException:
        raw.close()
        raise


def _version(secured: ssl.SSLSocket) -> str:
    return secured.version() or ""
