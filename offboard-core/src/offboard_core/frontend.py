"""Foreign protocols on this server's port: a robot that speaks another wire drives any model served here.

A frontend names WebSocket paths and, for each socket, a :class:`Speech`: what its protocol says before, between and
after the observations. Everything else is the server's, and the same for all protocols: one observation at a time,
replies in order, pings answered while a model loads or infers, a vanished client noticed at once, leases, closing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from offboard_client.errors import OffboardError
from offboard_client.messages import Status

from .runtime.codec import BoundCodec
from .runtime.exchange import Result, Wire
from .runtime.session import ServiceSession
from .types import Chunk

#: One WebSocket message: binary or text.
Frame = bytes | str
#: ASGI's description of the connection: ``path``, ``query_string``, ``headers`` …
Scope = Mapping[str, Any]


class Speech(Protocol):
    """What one socket of a protocol says. All methods but those of the wire run on the event loop and must not wait."""

    @property
    def model_id(self) -> str | None:
        """The model asked for; None for the default."""
        ...

    @property
    def params(self) -> Sequence[tuple[str, str]]:
        """Session parameters as name and value."""
        ...

    @property
    def session_id(self) -> str | None:
        """Of the session whose lingering lease this socket takes back, if any."""
        ...

    def wire(self, codec: BoundCodec) -> Wire:
        """The two translations of an observation and its reply; they run off the event loop."""
        ...

    def status(self, status: Status) -> Frame | None:
        """How to say that the model is not there yet; None for a protocol that has no such word."""
        ...

    def ready(self, session: ServiceSession) -> Frame:
        """The frame that ends the handshake."""
        ...

    def refusal(self, error: OffboardError) -> Frame:
        """The last frame of a socket that gets no session."""
        ...

    def error(self, error: OffboardError, frame: Frame) -> Frame:
        """The reply to ``frame``, which never reached the model."""
        ...

    def is_control(self, frame: Frame) -> bool:
        """Whether this is something else than an observation. Looks into short frames only: this is the event loop."""
        ...

    async def answer(self, frame: Frame, session: ServiceSession) -> Frame:
        """The reply to a control frame. An OffboardError that it raises becomes :meth:`error`."""
        ...


class Frontend(Protocol):
    """What the factory of a :class:`~offboard_core.FrontendEntry` makes, once per server."""

    def open(self, scope: Scope) -> Speech:
        """The speech of a new socket. Raises an OffboardError for a URL that cannot be understood."""
        ...

    def refuse(self, scope: Scope, error: OffboardError) -> Frame:
        """The last frame of a socket whose URL cannot be understood."""
        ...


__all__ = ["Chunk", "Frame", "Frontend", "Result", "Scope", "Speech", "Wire"]
