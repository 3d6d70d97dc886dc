"""The handshake of one session, frame by frame, until it is ready or has failed."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import BadMessage, ConnectionFailed, ConnectionLost, Full, OffboardError, ProtocolError, ShuttingDown
from ..wire import Ready, Status
from .attempts import AttemptFailed, from_peer, from_silence
from .deadline import Deadline
from .meta import check_meta
from .settings import Settings
from .websocket import WebSocket


class Opening:
    """One session's. ``read`` takes the next message, and raises what is wrong with it or what the server names."""

    def __init__(self, settings: Settings, websocket: WebSocket, read: Callable[[], Status | Ready]) -> None:
        self._address, self._websocket, self._read = settings.address, websocket, read
        self._status: Status | None = None

    def next(self) -> Status | Ready | None:
        """The next frame; None while there is none. Raises AttemptFailed."""
        websocket = self._websocket
        if websocket.flooded:
            raise AttemptFailed(ConnectionFailed(websocket.lost().text), again=False)
        if not websocket.messages:
            if websocket.eof or (websocket.upgraded and not websocket.open):
                said = websocket.lost()
                if not isinstance(said, ConnectionLost):  # the reason is an error of the protocol
                    raise AttemptFailed(said, again=isinstance(said, Full | ShuttingDown))
                raise from_silence(f"closed the connection{websocket.farewell}", self._address)
            return None
        try:
            frame = self._read()
            if isinstance(frame, Ready):
                check_meta(frame.meta)
                return frame
        except BadMessage as error:
            raise AttemptFailed(ProtocolError(f"{self._address}: {error.text}"), again=False) from None
        except OffboardError as error:
            raise from_peer(error, self._address) from None
        websocket.count()
        self._status = frame
        return frame

    def unready(self, deadline: Deadline) -> AttemptFailed:
        """Nothing more came in time: until ``deadline``, or for too long."""
        if self._status is None or deadline.rest() > 0.01:  # it ends a rounding later than the wait within it
            return from_silence("said nothing for too long", self._address)
        text = f"{self._address} had no session ready in the time that it was given, and was still {self._status}"
        return AttemptFailed(ConnectionFailed(text), again=True)
