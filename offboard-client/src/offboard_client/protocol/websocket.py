"""One WebSocket without its socket: bytes in, messages and bytes out. Both clients drive it.

websockets' own sans-I/O protocol does the handshake and the close, and reads all frames but whole messages: these,
which nearly all are, are read and framed in :mod:`.frames`, for a fraction of the time.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from ..errors import BY_CODE, BadMessage, ConnectionFailed, ConnectionLost, OffboardError, from_code
from ..wire import CLOSE_NORMAL, CLOSE_TOO_LARGE, WireLimits
from .address import Address
from .attempts import AttemptFailed, from_response, from_silence
from .frames import FrameReader, FrameWriter, Piece, Turns

# websockets logs request headers at debug level, the token among them; a logger of its own that is in
# nobody's hierarchy keeps them out of every log.
_unheard = logging.Logger("offboard_client.websocket", logging.CRITICAL)
#: Frames in one second that are not a whole message of any use: pings, pongs, and fragments below this size. Reading
#: one costs far more than sending it.
_FLOOD = 200
_FRAGMENT = 1024


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
        self._asked = b""
        #: Whether the last ping was answered, and that before any message of the server's that nobody has taken.
        self.ponged = False
        #: When what followed the last message that was sent began to arrive; None: it has not.
        self.begun: float | None = None
        self._protocol = ClientProtocol(parse_uri(url), max_size=limits.message_bytes, logger=_unheard)
        self._reader = FrameReader(limits.message_bytes)
        #: Where the socket may put what it receives next, before :meth:`received`; never empty.
        self.room = self._reader.room
        self._writer = FrameWriter()
        #: Where there is memory that the server reads: lays a message there, and says what is to be sent for it.
        self.lay: Callable[[Sequence[Piece]], Sequence[Piece]] | None = None
        self._connecting = True
        #: Whether messages may be sent. No property: it is asked for often.
        self.open = False
        #: Whether :meth:`outgoing` may have something.
        self.speaks = True
        self._fragments: list[bytes] = []
        self._text = False
        self.eof = False
        #: Complete messages that nobody has taken yet: bytes, or str for a text frame.
        self.messages: deque[bytes | bytearray | memoryview | str] = deque()
        request = self._protocol.connect()
        for name, value in headers.items():
            request.headers[name] = value
        self._protocol.send_request(request)

    @property
    def between(self) -> bool:
        """Whether what was received so far ends with a whole message, or there is nothing to wait for."""
        reader = self._reader
        return (reader.start == reader.end and not reader.owed and not self._fragments) or not self.open

    @property
    def upgraded(self) -> bool:
        """Whether the server has accepted the WebSocket, open still or not."""
        return not self._connecting and self._protocol.handshake_exc is None

    @property
    def ended(self) -> bool:
        """Whether the server has said goodbye, is gone, or is not listened to any more."""
        return self.eof or self.flooded or self._protocol.close_rcvd is not None

    @property
    def farewell(self) -> str:
        """What it said goodbye with, in parentheses; nothing if it did not."""
        said = self._protocol.close_rcvd
        return "" if said is None else f" ({f'{said.code} {said.reason}'.rstrip()})"

    def received(self, count: int) -> None:
        """So many bytes were put into the room; 0: the socket has ended.

        Raises AttemptFailed if the upgrade is refused.
        """
        if self.eof or self.flooded:
            return
        reader = self._reader
        reader.end += count
        if self.open and count and not self._fragments and (message := reader.whole()) is not None:
            self.messages.append(message)
            if self.begun is None:
                self.begun = self._now()
            return
        if not count:
            self.eof, self.open = True, False
            if rest := reader.rest():
                self._hand(rest)
            self._protocol.receive_eof()
            self.speaks = True
        elif self._connecting:
            self._read_head()
        if self.open:
            self._read_frames()
        elif not self._connecting and (rest := reader.rest()):
            self._hand(rest)
        if self.begun is None and (self.messages or not self.between):
            self.begun = self._now()
        if self._protocol.handshake_exc is not None:
            raise self._refused(self._protocol.handshake_exc)

    def feed(self, data: bytes) -> None:
        """:meth:`room` and :meth:`received` for a socket that hands out bytes of its own; ``b""`` for its end."""
        rest = memoryview(data)
        while True:
            room = self.room()
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            self.received(count)
            rest = rest[count:]
            if not rest:
                return

    def outgoing(self) -> bytes:
        """What has to be sent now: the request, pongs, the close."""
        if not self.speaks:
            return b""
        self.speaks = False
        out = self._protocol.data_to_send()
        return b"".join(out) if out and not self.flooded else b""

    def send(self, pieces: Sequence[Piece]) -> Turns:
        """What has to be sent for the pieces to be one binary message; the next call may reuse its memory."""
        self.begun = None
        return self._writer.frame(pieces if self.lay is None else self.lay(pieces))

    def ping(self, data: bytes = b"") -> None:
        """Ask for a sign of life; :meth:`outgoing` has the frame."""
        if self._protocol.state is State.OPEN:
            self._asked, self.ponged, self.speaks = data, False, True
            self._protocol.send_ping(data)

    def close(self) -> None:
        """Say goodbye; :meth:`outgoing` has the frame."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CLOSE_NORMAL)
            self.open, self.speaks = False, True

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

    def _read_head(self) -> None:
        """Line by line: where it ends the frames begin."""
        while self._connecting and (line := self._reader.line()):
            self._hand(line)

    def _read_frames(self) -> None:
        reader = self._reader
        while self.open and reader.start < reader.end:
            found = reader.next(bool(self._fragments))
            if found is None:
                return
            opcode, data = found
            if not opcode:
                self._hand(data)
            else:
                self.messages.append(data if opcode == Opcode.BINARY else str(data, "utf-8", "replace"))
        if not self.flooded and (rest := self._reader.rest()):
            self._hand(rest)

    def _hand(self, data: bytes | memoryview) -> None:
        """Let websockets' protocol read these bytes, and take what it makes of them."""
        self._protocol.receive_data(data)  # pyright: ignore[reportArgumentType] - it copies them
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
        self.speaks = True
        self._connecting = self._protocol.state is State.CONNECTING
        self.open = self._protocol.state is State.OPEN and not self.eof and not self.flooded

    def _take(self, frame: Frame) -> None:
        size = len(frame.data)
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
            self.flooded, self.open = True, False

    def _refused(self, error: Exception) -> AttemptFailed:
        if isinstance(error, InvalidStatus):
            response = error.response
            return from_response(response.status_code, response.headers, bytes(response.body or b""), self._address)
        if self.eof:
            return from_silence("closed the connection", self._address, absent=True)
        text = f"{self._address} does not answer as a WebSocket server ({error}): is this the right port?"
        return AttemptFailed(ConnectionFailed(text), again=False)
