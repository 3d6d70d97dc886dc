"""The client's side of one session without any I/O: what to send, and what the answers mean.

A driver (a blocking socket, or asyncio's streams) opens the connection, sends what :meth:`outgoing`,
:meth:`ask` and :meth:`ask_control` give, feeds what it receives, and asks for the answer when
:attr:`answered` says that there is one. The states are ``handshake``, ``ready``, ``busy`` and ``closed``;
one exchange at a time, and whoever is in doubt about an answer closes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from . import messages
from ._attempts import AttemptFailed, from_peer, from_silence
from ._rows import Row, rows
from ._settings import Settings
from ._spec import check_observation
from ._timing import Step
from ._websocket import WebSocket
from .errors import BadMessage, BadObservation, Busy, ConnectionFailed, ConnectionLost, OffboardError
from .jsontext import decode_text
from .messages import Ready, Status
from .wire import Encoder, decode

State = Literal["handshake", "ready", "busy", "closed"]


class SessionProtocol:
    """One session on one socket."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._settings = settings
        self._socket = WebSocket(url, settings.headers, settings.address, settings.limits)
        self._encoder = Encoder()
        self._checked = False
        self._asked = self._encoded = 0.0
        self.state: State = "handshake"
        self.meta: Mapping[str, Any] = {}
        self.session_id = ""
        self.warnings: tuple[str, ...] = ()

    # -- bytes -----------------------------------------------------------------------------------------
    def feed(self, data: bytes) -> None:
        """What the socket received, ``b""`` at its end. Raises AttemptFailed if the upgrade is refused."""
        self._socket.feed(data)

    def outgoing(self) -> bytes:
        """What has to be sent now."""
        return self._socket.outgoing()

    @property
    def upgraded(self) -> bool:
        """Whether the server has accepted the WebSocket."""
        return self._socket.upgraded

    @property
    def ended(self) -> bool:
        """Whether the server has said goodbye, or is gone."""
        return self._socket.ended

    # -- the handshake ---------------------------------------------------------------------------------
    def handshake(self) -> Status | Ready | None:
        """The next frame of the handshake; None while there is none. Raises AttemptFailed."""
        address = self._settings.address
        if not self._socket.messages:
            if self._socket.eof or (self._socket.upgraded and not self._socket.open):
                raise from_silence("closed the connection", address)
            return None
        try:
            frame = messages.read_handshake(self._decode())
        except BadMessage as error:
            raise AttemptFailed(ConnectionFailed(f"{address}: {error.text}"), again=False) from None
        except OffboardError as error:
            raise from_peer(error, address) from None
        if isinstance(frame, Ready):
            self.meta, self.session_id, self.state = frame.meta, frame.session_id, "ready"
        return frame

    # -- one exchange ----------------------------------------------------------------------------------
    def ask(self, observation: Mapping[str, Any]) -> memoryview:
        """All bytes that carry ``observation``; the next call may reuse their memory.

        Raises Busy, BadObservation (nothing was sent, the session goes on) or the reason why it is closed.
        """
        self._enter()
        self._asked = self._settings.clock.now()
        if "type" in observation:
            raise BadObservation("an observation has no top-level name 'type': that is a control frame's; rename it")
        if not self._checked:
            check_observation(observation, self.meta.get("observation"))
            self._checked = True
        return self._send(observation)

    def ask_control(self, kind: Literal["reset", "ping", "stats"]) -> memoryview:
        """All bytes that carry a control frame."""
        self._enter()
        return self._send(messages.control_frame(kind))

    @property
    def answered(self) -> bool:
        """Whether there is an answer, or will be none."""
        return bool(self._socket.messages) or not self._socket.open

    @property
    def unasked(self) -> bool:
        """Whether the server has sent something that answers nothing."""
        return self.state != "busy" and bool(self._socket.messages)

    def answer(self) -> tuple[Sequence[Row] | None, Step]:
        """The rows that answer the observation, and where the time went.

        Raises what the server reports, or why no answer came.
        """
        arrived = self._settings.clock.now()
        reply = messages.read_reply(self._take())
        self.state = "ready"
        self.warnings += reply.warnings
        found = rows(reply.result)
        step = Step(
            encode_s=self._encoded - self._asked,
            wait_s=arrived - self._encoded,
            decode_s=self._settings.clock.now() - arrived,
            server=reply.timing,
        )
        return found, step

    def answer_control(self, kind: Literal["reset", "ping", "stats"]) -> dict[str, Any]:
        """The answer to a control frame. Raises what the server reports, or why none came."""
        found = messages.read_control_answer(self._take(), kind)
        self.state = "ready"
        return found

    def close(self) -> None:
        """Say goodbye, if the socket still hears it: :meth:`outgoing` has the frame."""
        self._socket.close()
        self.state = "closed"

    # -- inside ----------------------------------------------------------------------------------------
    def _enter(self) -> None:
        if self.state == "busy":
            raise Busy("an observation is in flight in this session: wait for its answer, or open another session")
        if self._socket.messages:
            # What the server says unasked can only be why it closes.
            self.state = "closed"
            error = messages.frame_error(self._decode())
            raise error or ConnectionLost(f"{self._settings.address} sent a frame that nobody had asked for")
        if self.state != "ready" or not self._socket.open:
            self.state = "closed"
            raise self._socket.lost()

    def _send(self, value: Any) -> memoryview:
        with self._encoder.encode(value) as payload:
            out = self._socket.send(payload)
        self.state = "busy"
        self._encoded = self._settings.clock.now()
        return out

    def _take(self) -> Any:
        """The frame that answers. Whatever goes wrong before it is understood closes the session."""
        self.state = "closed"
        if not self._socket.messages:
            raise self._socket.lost()
        frame = self._decode()
        error = messages.frame_error(frame)
        if error is not None:
            self.state = "ready"
            raise error
        return frame

    def _decode(self) -> Any:
        data = self._socket.messages.popleft()
        limits = self._settings.limits
        return decode_text(data, limits) if isinstance(data, str) else decode(data, limits)
