"""Foreign protocols on this server's port: a robot that speaks another protocol drives any model served here.

A frontend is spoken on WebSocket paths and makes, for each socket, a :class:`FrontendConnection`: what its protocol
says before, between and after the observations. Everything else is the server's, and the same for all protocols: one
observation at a time, replies in order, pings answered while a model loads or infers, a vanished client noticed at
once, leases, closing. Plugins offer frontends by the hook ``offboard_frontends``.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, cast

from offboard_client import wire
from offboard_client.errors import OffboardError
from offboard_client.wire import CONTROL_BYTES, Status, WireLimits, decode_plain

from ..catalog import ResolvedCodec
from ..engine import Serializer, ServiceSession

#: One WebSocket message: binary or text.
Frame = bytes | str
#: How much of each end of an observation is kept until it is answered.
ENDS = 64
_ENDS, _FIRST, _LAST = 2 * ENDS, slice(ENDS), slice(-ENDS, None)
_CONTROL_LIMITS = WireLimits(message_bytes=CONTROL_BYTES, elements=64, list_length=64, map_keys=64, depth=8)
#: ASGI's description of the connection: ``path``, ``query_string``, ``headers`` …
Scope = Mapping[str, Any]


def read_control(frame: Frame) -> dict[str, Any] | None:
    """A short frame as a map of plain values, None for any other.

    For :meth:`FrontendConnection.is_control` on the event loop.
    No array and no image is made of it, since the client chooses what those cost.
    """
    if len(frame) >= CONTROL_BYTES:
        return None
    try:
        if isinstance(frame, str):
            value = wire.decode_text(frame, _CONTROL_LIMITS)
        else:
            value = decode_plain(frame, _CONTROL_LIMITS)
    except OffboardError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


class PeerConnection(abc.ABC):
    """What one client of a protocol says and hears: observations, their replies, and control frames between them.

    All methods but the serializer's run on the event loop and must not wait.

    ``model_id``: the model asked for; None for the default. ``params``: session parameters as name and value.
    """

    model_id: str | None = None
    params: Sequence[tuple[str, str]] = ()

    def bridge(self, codec: ResolvedCodec) -> ResolvedCodec:
        """What stands between this protocol's names and the model: the codec that the session uses.

        ``codec`` itself, as here, where the protocol speaks canonical names; else one that makes canonical names of
        the client's and answers in the client's terms. Raises an OffboardError where one has no form in the other,
        such as velocities for poses: the client is refused before the model is loaded for it.
        """
        return codec

    @abc.abstractmethod
    def serializer(self, codec: ResolvedCodec) -> Serializer:
        """The two translations of an observation and its reply; they run off the event loop. ``codec``: the bridged."""

    def begun(self, session: ServiceSession) -> None:
        """The session is there, and ``session.meta`` says what it reads and answers; none of its frames is read before.

        For a listener's clients; a socket's is told by :meth:`FrontendConnection.ready`.
        """

    def status(self, status: Status) -> Frame | None:
        """How to say that the model is not there yet; None, as here, for a protocol that has no such word."""
        return None

    @abc.abstractmethod
    def error(self, error: OffboardError, frame: Frame) -> Frame:
        """The reply to ``frame``, which never reached the model; only its beginning and its end may be left of it."""

    def without_model(self, frame: Frame) -> Frame | None:
        """The reply to an observation for which the model need not be asked; None, as here: it is asked.

        For a protocol whose replies hold one step each: the next one of what the model answered last. It is this
        observation's turn: whatever came before it has been answered. On the event loop, as :meth:`is_control`.
        """
        return None

    def is_control(self, frame: Frame) -> bool:
        """Whether this is something else than an observation; here nothing is.

        This is the event loop: it looks into a frame with :func:`read_control` only.
        """
        return False

    def asks(self, frame: Frame) -> bool:
        """Whether a control frame asks the model, as an observation does: there is one of either at a time."""
        return False

    async def answer(self, frame: Frame, session: ServiceSession) -> Frame | None:
        """The reply to a control frame; None where the protocol has none. An OffboardError becomes :meth:`error`."""
        raise NotImplementedError(f"{type(self).__name__} knows no control frames")


class FrontendConnection(PeerConnection):
    """What one socket of a protocol says, its handshake included.

    ``session_id``: of the session whose lingering lease this socket takes back, if any.
    ``answer_within``: seconds in which every frame gets its answer, in a protocol without numbers whose client gives up
    after a time, and takes what comes then for the answer to its next frame. Who waits longer for a session is told;
    who waits longer for an answer is told, and the socket ends, as that of a client does which sends before it is
    answered. None, as here: its clients can tell what an answer answers.
    ``takes_views``: large frames may be read-only memoryviews, for its serializer and for :meth:`error`; else bytes.
    """

    session_id: str | None = None
    answer_within: float | None = None
    takes_views: bool = False

    @abc.abstractmethod
    def ready(self, session: ServiceSession) -> Frame | None:
        """The frame that ends the handshake; None where the client speaks first."""

    def refusal(self, error: OffboardError) -> Frame | None:
        """The last frame of a socket that gets no session; None, as here: the reason of the close frame says why."""
        return None


class Frontend(abc.ABC):
    """What the factory of a :class:`~offboard_core.FrontendEntry` makes, once per server.

    ``pong_timeout``: seconds within which its clients answer a ping, where that is not as the server is set: some do so
    only between two steps of a simulation.
    """

    pong_timeout: float | None = None

    @abc.abstractmethod
    def connect(self, scope: Scope) -> FrontendConnection:
        """The connection of a new socket. Raises an OffboardError for a URL that cannot be understood."""

    def refuse(self, scope: Scope, error: OffboardError) -> Frame | None:
        """The last frame of a socket whose URL cannot be understood; None as in :meth:`FrontendConnection.refusal`."""
        return None


def both_ends(frame: Frame) -> Frame:
    """What :meth:`PeerConnection.error` needs of a frame: its encoding, and the names it begins and ends with."""
    if len(frame) <= _ENDS:
        return frame
    if isinstance(frame, str):
        return frame[_FIRST] + frame[_LAST]
    return b"".join((frame[_FIRST], frame[_LAST]))  # which may be a view
