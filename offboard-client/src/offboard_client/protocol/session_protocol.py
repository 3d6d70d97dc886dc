"""The client's side of one session without any I/O: what to send, and what the answers mean.

A driver (a blocking socket, or asyncio's streams) opens the connection, sends what :meth:`outgoing`,
:meth:`ask` and :meth:`ask_control` give, feeds what it receives, and asks for the answer when
:attr:`answered` says that there is one. While it waits it calls :meth:`tend` as often as that asks for. The
states are ``handshake``, ``ready``, ``busy`` and ``closed``; one exchange at a time, and whoever is in doubt
about an answer closes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from .. import wire
from ..errors import (
    BadMessage,
    BadObservation,
    Busy,
    ConnectionLost,
    brief,
)
from ..memory import MemoryOffer
from ..wire import Encoder, Ready, Reply, Row, Status, check_sendable, decode_text, rows
from .deadline import Pulse
from .frames import Piece, Turns
from .image_form import ImageForm
from .meta import is_offboard
from .opening import Opening
from .prepared import prepared
from .settings import Settings
from .timing import Step
from .websocket import WebSocket

State = Literal["handshake", "ready", "busy", "closed"]
_MAP: Any = dict  # for type checkers a map of they do not know what, which only a call of cast would say


class SessionProtocol:
    """One session on one socket."""

    #: Whether observations are sent as they are, and numbered.
    numbers = True

    def __init__(self, settings: Settings, url: str) -> None:
        self._settings = settings
        self._now = settings.clock.now
        self.websocket = WebSocket(url, settings.headers, settings.address, settings.limits, self._now)
        #: Of a server that may infer on its event loop an answer to a ping cannot be expected meanwhile.
        self.pulse = Pulse(self._now, math.inf)
        self._seq = 0
        self._echoes = False
        self._encoder, self._stencils = Encoder(), wire.Stencils(wire.SEQ)
        self._learns = self.numbers and settings.images.how == "raw"
        self._layouts = wire.Layouts()
        #: The form of the last reply that was right, where those like it may be read so.
        self._right: object = None
        self._checked = False
        self._asked = self._encoded = 0.0
        self.state: State = "handshake"
        self.meta: Mapping[str, Any] = {}
        self._meta_of_prepare: Mapping[str, Any] = {}
        self.session_id = ""
        self._opening = Opening(settings, self.websocket, self._read_handshake)
        #: The error of a handshake in which nothing more came in time: until the deadline, or for too long.
        self.unready = self._opening.unready
        self.warnings: tuple[str, ...] = ()
        #: Where the server takes memory for messages, if it does.
        self.memory: MemoryOffer | None = None
        self.images = ImageForm(settings.images, settings.notice)  # a later connection has the session's

    # -- bytes -----------------------------------------------------------------------------------------
    def received(self, count: int) -> None:
        """As of :class:`WebSocket`, for a socket that has put so many bytes into its room."""
        self.websocket.received(count)
        if not self.websocket.messages:  # else nothing is waited for any more
            self.pulse.heard()

    def feed(self, data: bytes) -> None:
        """As of :class:`WebSocket`, for a socket that hands out bytes of its own; ``b""`` at its end."""
        self.websocket.feed(data)
        self.pulse.heard()

    def outgoing(self) -> bytes:
        """What has to be sent now."""
        return self.websocket.outgoing()

    @property
    def upgraded(self) -> bool:
        """Whether the server has accepted the WebSocket."""
        return self.websocket.upgraded

    @property
    def ended(self) -> bool:
        """Whether the server has said goodbye, or is gone."""
        return self.websocket.ended

    @property
    def between(self) -> bool:
        """Whether nothing of a further message has arrived yet."""
        return self.websocket.between

    def tend(self, mid_message: bool = False) -> float:
        """What is due while something is awaited; seconds until more is. :meth:`outgoing` may have a ping then.

        ``mid_message``: a message is being sent. Raises ConnectionLost if the server owes an answer and is silent.
        """
        if self.state != "busy":
            return math.inf
        wait = self.pulse.wait()
        if wait > 0:
            return wait
        if self.pulse.silent():
            raise ConnectionLost(
                f"{self._settings.address} has sent nothing for {self.pulse.silence:g} s, not even an answer to a "
                "ping: it hangs, or the network between does. The next call opens a new session"
            )
        if not mid_message:
            self.websocket.ping()
        return self.pulse.wait()

    # -- the handshake ---------------------------------------------------------------------------------
    def handshake(self) -> Status | Ready | None:
        """The next frame of the handshake; None while there is none. Raises AttemptFailed."""
        frame = self._opening.next()
        if not isinstance(frame, Ready):
            return frame
        self.meta, self.session_id, self.memory, self.state = frame.meta, frame.session_id, frame.memory, "ready"
        if self._settings.prepare is not None:
            self._meta_of_prepare = MappingProxyType(copy.deepcopy(dict(frame.meta)))
        self._settings.met.set()
        if is_offboard(frame.meta):
            self.pulse, self._echoes = Pulse(self._now, self._settings.timeouts.silence), True
        return frame

    # -- one exchange ----------------------------------------------------------------------------------
    def ask(self, observation: Mapping[str, Any]) -> Turns:
        """All that has to be sent for ``observation``; the next call may reuse its memory.

        Raises Busy, BadObservation or what ``prepare`` raises (nothing was sent, the session goes on), or the reason
        why it is closed.
        """
        if self.state != "ready" or self.websocket.messages or not self.websocket.open:
            self.check()
        self._asked = self._now()
        if (prepare := self._settings.prepare) is not None:
            observation = prepared(prepare, observation, self._meta_of_prepare)
            took, limit = self._now() - self._asked, self._settings.timeouts.infer
            if took > limit:
                raise BadObservation(
                    f"nothing was sent: prepare took {took:.3g} s, longer than infer_timeout ({limit:g} s): "
                    "make it faster, or allow more"
                )
        # One that is like another has the same names, which were checked then.
        if (pieces := self._stencils.pieces(observation, self._seq + 1)) is not None:
            self._seq += 1
            return self._send_pieces(pieces)
        check_sendable(observation, self.meta, first=not self._checked)
        self._checked = True
        try:
            made = self.images.made(observation, self.meta)
            out = self._send(self._message(made))
        except BadMessage as error:  # what is read raises it too, and that loses the session
            raise BadObservation(f"nothing was sent: {error.text}") from error
        if self._learns:
            self._stencils.learn(made)
        return out

    def ask_control(self, kind: str, params: Mapping[str, Any] | None = None) -> Turns:
        """All that has to be sent for a control frame.

        Raises BadParameter for ``params`` that none can hold (nothing was sent, the session goes on).
        """
        self.check()
        return self._send(wire.checked_control(kind, params))

    @property
    def answered(self) -> bool:
        """Whether there is an answer, or will be none."""
        return bool(self.websocket.messages) or not self.websocket.open

    @property
    def unasked(self) -> bool:
        """Whether the server has sent more that answers nothing than the one message that says why it closes."""
        return self.state == "ready" and len(self.websocket.messages) > 1

    def answer(self) -> tuple[Sequence[Row] | None, Step]:
        """The rows that answer the observation, and where the time went.

        Raises what the server reports, or why no answer came.
        """
        arrived = self._now()
        frame, form = self._take(), self._layouts.form
        if form is not None and form is self._right and frame[wire.SEQ] == self._seq:
            self.state = "ready"
            found, timing = wire.read_alike(frame)
        else:
            reply = self._read_reply(frame)
            self.state, self.warnings, timing = "ready", self.warnings or reply.warnings, reply.timing
            found = rows(reply.result, self._settings.limits)
            usual = isinstance(found, wire.Rows) and reply.seq is not None and timing is frame.get("timing", timing)
            self._right = form if usual else None
        encode_s, wait_s, begun = self._encoded - self._asked, arrived - self._encoded, self.websocket.begun or arrived
        step = Step(encode_s, wait_s, self._now() - arrived, timing, arrived - begun)
        self.images.answered(step)
        return found, step

    def answer_control(self, kind: str) -> dict[str, Any]:
        """The answer to a control frame. Raises what the server reports, or why none came."""
        took = self._now() - self._encoded
        frame = self._take()
        self._check(frame)
        found = wire.read_control_answer(frame, kind)
        self.state = "ready"
        self.images.controlled(kind, took, found)
        return found

    def abandon(self) -> None:
        """Whatever answer may still come is nobody's: the session is over."""
        self.state = "closed"

    def close(self) -> None:
        """Say goodbye, if the socket still hears it: :meth:`outgoing` has the frame."""
        self.websocket.close()
        self.state = "closed"

    def check(self) -> None:
        """Raises why no exchange can be begun."""
        if self.state == "busy":
            raise Busy("an observation is in flight in this session: wait for its answer, or open another session")
        if self.websocket.messages:
            # What the server says unasked can only be why it closes.
            self.state = "closed"
            error = wire.frame_error(self._decode())
            raise error or ConnectionLost(f"{self._settings.address} sent a frame that was not asked for")
        if self.state != "ready" or not self.websocket.open:
            self.state = "closed"
            raise self.websocket.lost()

    # -- what another protocol says otherwise ----------------------------------------------------------
    def _read_handshake(self) -> Status | Ready:
        return wire.read_handshake(self._decode())

    def _message(self, observation: Mapping[str, Any]) -> Mapping[str, Any]:
        self._seq += 1
        return {**observation, wire.SEQ: self._seq}

    def _read_reply(self, frame: Any) -> Reply:
        self._check(frame, self._check_seq)
        return wire.read_reply(frame)

    # -- inside ----------------------------------------------------------------------------------------
    def _send(self, value: Any) -> Turns:
        return self._send_pieces(self._encoder.pieces(value))

    def _send_pieces(self, pieces: Sequence[Piece]) -> Turns:
        out = self.websocket.send(pieces)
        self.state = "busy"
        self._encoded = self._now()
        self.pulse.begin(out.size)
        return out

    def _take(self) -> Any:
        """The frame that answers. Whatever goes wrong before it is understood closes the session."""
        self.state = "closed"
        if not self.websocket.messages:
            raise self.websocket.lost()
        return self._decode()

    def _check(self, frame: Any, answers: Callable[[Any, bool], None] | None = None) -> None:
        """Raises the error that the frame carries; before, what ``answers(frame, is_error)`` raises."""
        error = wire.frame_error(frame)
        if answers is not None:
            answers(frame, error is not None)
        if error is not None:
            self.state = "ready"
            raise error

    def _check_seq(self, frame: Any, is_error: bool) -> None:
        """Raises ConnectionLost where the frame answers another observation than the last one."""
        seq = frame.get(wire.SEQ) if isinstance(frame, _MAP) else None
        if type(seq) is int and seq == self._seq:
            self._echoes = True
            return
        if seq is None and (is_error or not self._echoes):
            return  # a foreign server; or an error about a frame of which nothing could be read
        raise ConnectionLost(
            f"{self._settings.address} answered observation {brief(seq, 40)} where {self._seq} was in flight: "
            "answers and observations have come apart. Nothing of it is used; the next call opens a new session"
        )

    def _decode(self) -> Any:
        data, limits = self.websocket.messages.popleft(), self._settings.limits
        return decode_text(data, limits) if isinstance(data, str) else self._layouts.decode(data, limits)
