"""One WebSocket without its socket: bytes in, messages and bytes out. Both clients drive it.

websockets' own sans-I/O protocol does the handshake, reads, and frames what is small. Messages of camera
images are framed here: masking them into a buffer that is kept takes two thirds of the time.
"""

from __future__ import annotations

import logging
import math
import secrets
import struct
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from ..errors import BY_CODE, BadMessage, ConnectionFailed, ConnectionLost, OffboardError, from_code
from ..wire import CLOSE_NORMAL, CLOSE_TOO_LARGE, WireLimits
from .address import Address
from .attempts import AttemptFailed, from_response, from_silence

# websockets logs request headers at debug level, the token among them; a logger of its own that is in
# nobody's hierarchy keeps them out of every log.
_unheard = logging.Logger("offboard_client.websocket", logging.CRITICAL)
_BINARY_FIN = 0x80 | Opcode.BINARY
_MASKED = 0x80
#: Frames in one second that are not a whole message of any use: pings, pongs, and fragments below this size. Reading
#: one costs far more than sending it.
_FLOOD = 200
_FRAGMENT = 1024
# From here on the fixed price of numpy calls is less than what a copy costs.
_LARGE = 16384


class WebSocket:
    """The client's end of one WebSocket, from the upgrade to the close."""

    def __init__(
        self, url: str, headers: Mapping[str, str], address: Address, limits: WireLimits, now: Callable[[], float]
    ) -> None:
        self._address = address
        self._now = now
        self._flood, self._flood_since = 0, -math.inf
        #: Whether the server has sent more frames than anybody has a use for; nothing more of it is read.
        self.flooded = False
        self._part = 0
        self._asked = b""
        #: Whether the last ping was answered, and that before any message of the server's that nobody has taken.
        self.ponged = False
        #: When what followed the last message that was sent began to arrive; None: it has not.
        self.begun: float | None = None
        self._protocol = ClientProtocol(parse_uri(url), max_size=limits.message_bytes, logger=_unheard)
        self._fragments: list[bytes] = []
        self._text = False
        self._framer = _Framer()
        self.eof = False
        #: Complete messages that nobody has taken yet: bytes, or str for a text frame.
        self.messages: deque[bytes | bytearray | memoryview | str] = deque()
        request = self._protocol.connect()
        for name, value in headers.items():
            request.headers[name] = value
        self._protocol.send_request(request)

    @property
    def open(self) -> bool:
        """Whether messages may be sent."""
        return self._protocol.state is State.OPEN and not self.eof and not self.flooded

    @property
    def between(self) -> bool:
        """Whether what was received so far ends with a whole message, or there is nothing to wait for."""
        return (not self._part and not self._fragments) or not self.open

    @property
    def upgraded(self) -> bool:
        """Whether the server has accepted the WebSocket, open still or not."""
        return self._protocol.state is not State.CONNECTING and self._protocol.handshake_exc is None

    @property
    def ended(self) -> bool:
        """Whether the server has said goodbye, is gone, or is not listened to any more."""
        return self.eof or self.flooded or self._protocol.close_rcvd is not None

    @property
    def farewell(self) -> str:
        """What it said goodbye with, in parentheses; nothing if it did not."""
        said = self._protocol.close_rcvd
        return "" if said is None else f" ({f'{said.code} {said.reason}'.rstrip()})"

    def feed(self, data: bytes) -> None:
        """What the socket received; ``b""`` for its end. Raises AttemptFailed if the upgrade is refused."""
        if self.eof or self.flooded:
            return
        if not data:
            self.eof = True
            self._protocol.receive_eof()
        while data:
            # Line by line up to the end of the head: whole messages are counted from where the frames begin.
            head = self._protocol.state is State.CONNECTING
            end = (data.find(b"\n") + 1 or len(data)) if head else len(data)
            self._protocol.receive_data(data[:end])
            self._part += 0 if head else end
            data = data[end:]
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
        if self.begun is None and (self.messages or not self.between):
            self.begun = self._now()
        if self._protocol.handshake_exc is not None:
            raise self._refused(self._protocol.handshake_exc)

    def outgoing(self) -> bytes:
        """What has to be sent now: the request, pongs, the close."""
        out = self._protocol.data_to_send()
        return b"".join(out) if out and not self.flooded else b""

    def send(self, payload: memoryview) -> memoryview:
        """All that has to be sent for ``payload`` to be one binary message; the next call may reuse its buffer."""
        self.begun = None
        if payload.nbytes < _LARGE:
            return memoryview(Frame(Opcode.BINARY, payload).serialize(mask=True))
        return self._framer.frame(payload)

    def ping(self, data: bytes = b"") -> None:
        """Ask for a sign of life; :meth:`outgoing` has the frame."""
        if self._protocol.state is State.OPEN:
            self._asked, self.ponged = data, False
            self._protocol.send_ping(data)

    def close(self) -> None:
        """Say goodbye; :meth:`outgoing` has the frame."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CLOSE_NORMAL)

    def lost(self) -> OffboardError:
        """Why the socket of an open session ended, as the error that tells it.

        A close reason that starts with a code of the protocol is that error; anything else is ConnectionLost.
        """
        closed, where = self._protocol.close_rcvd, self._address
        if self.flooded:
            return ConnectionLost(
                f"{where} floods: more than {_FLOOD} pings, fragments or status frames within a second, and no more "
                "of it is read; the next call opens a new session"
            )
        if closed is None:
            cause = self._protocol.parser_exc
            if cause is None or isinstance(cause, EOFError):
                return ConnectionLost(
                    f"{where} closed the connection without a word; the next call opens a new session"
                )
            return ConnectionLost(f"{where} sent what cannot be read ({cause}); the next call opens a new session")
        text = f"{where} closed the session{self.farewell}"
        code = closed.reason.partition(":")[0].strip()
        if code in BY_CODE:
            return from_code(code, text)
        if closed.code == CLOSE_TOO_LARGE:
            return BadMessage(f"{text}: the observation is larger than the server accepts; send smaller images")
        return ConnectionLost(f"{text}; the next call opens a new session")

    def _take(self, frame: Frame) -> None:
        size = len(frame.data)
        self._part -= size + (2 if size < 126 else 4 if size < 65536 else 10)
        data_frame = frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY or frame.opcode is Opcode.CONT
        if not data_frame or (not frame.fin and size < _FRAGMENT):
            self.count()
        if not data_frame:
            if frame.opcode is Opcode.PONG and not self.messages and not self._fragments:
                self.ponged |= bytes(frame.data) == self._asked
            return
        if frame.opcode is not Opcode.CONT:
            self._text = frame.opcode is Opcode.TEXT
        if frame.fin and not self._fragments:
            data = frame.data
        else:
            self._fragments.append(bytes(frame.data))
            if not frame.fin:
                return
            data = b"".join(self._fragments)
            self._fragments.clear()
        self.messages.append(str(data, "utf-8", "replace") if self._text else data)

    def count(self) -> None:
        """One more frame that brings no answer."""
        now = self._now()
        if now - self._flood_since > 1.0:
            self._flood, self._flood_since = 0, now
        self._flood += 1
        if self._flood > _FLOOD:
            self.flooded = True

    def _refused(self, error: Exception) -> AttemptFailed:
        if isinstance(error, InvalidStatus):
            response = error.response
            return from_response(response.status_code, response.headers, bytes(response.body or b""), self._address)
        if self.eof:
            return from_silence("closed the connection", self._address, absent=True)
        text = f"{self._address} does not answer as a WebSocket server ({error}): is this the right port?"
        return AttemptFailed(ConnectionFailed(text), again=False)


class _Framer:
    """Masks large messages into one buffer (RFC 6455 §5.2, §5.3), with a fresh key for each."""

    # The header of a large message has 4 + 4 or 10 + 4 bytes; the payload after it is aligned for 64-bit words.
    _START = 16

    def __init__(self) -> None:
        self._words = np.empty(0, np.uint64)

    def frame(self, payload: memoryview) -> memoryview:
        size = payload.nbytes
        whole, rest = divmod(size, 8)
        first = self._START // 8
        if len(self._words) < first + whole + 1:
            self._words = np.empty(first + whole + 1, np.uint64)
        buffer = self._words.data.cast("B")
        key = secrets.token_bytes(4)
        key_word = np.frombuffer(key * 2, np.uint64)
        np.bitwise_xor(np.frombuffer(payload, np.uint64, whole), key_word, out=self._words[first : first + whole])
        end = self._START + size
        for i in range(rest):  # ``whole`` words leave the key at its beginning
            buffer[end - rest + i] = payload[size - rest + i] ^ key[i % 4]
        if size < 65536:
            header = struct.pack("!BBH", _BINARY_FIN, _MASKED | 126, size) + key
        else:
            header = struct.pack("!BBQ", _BINARY_FIN, _MASKED | 127, size) + key
        start = self._START - len(header)
        buffer[start : self._START] = header
        return buffer[start:end]
