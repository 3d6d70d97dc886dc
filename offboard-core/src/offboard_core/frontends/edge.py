"""Between a frontend and its client: takes this machine's paths out of every text (decision 0015).

Whoever raises an error says the whole; so does the log. What is left out for the client is found there by the ``ref``
that the client's text begins with.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from typing import Any

from offboard_client.errors import ConnectionFailed, Internal, OffboardError, ShuttingDown
from offboard_client.wire import Status, error_frame

from ..catalog import ResolvedCodec
from ..engine import Result, Serializer, ServiceSession, without_paths
from ..types import Observation
from .base import Frame, FrontendConnection, PeerConnection
from .contained import contained, contained_async
from .sparing import Sparing

log = logging.getLogger(__name__)


class Edge:
    """What becomes of errors on their way to a client; one for WebSockets, one for each listener. For any thread."""

    def __init__(self) -> None:
        self._sparing, self._of_answers, self._of_ends = Sparing(), Sparing(), Sparing()

    def error(self, error: OffboardError) -> OffboardError:
        """As a client may have it: itself, or one of its class without paths and with a ref. The log has the whole."""
        shown, ref = self.shown(error)
        if ref and self._sparing.may(ref):
            log.warning("%s%s", ref, error.text)
        return shown

    def answered(self, who: str, error: OffboardError) -> None:
        """Let the log have why a robot got no action. A robot repeats what is wrong: once a minute of each."""
        if not isinstance(error, ShuttingDown) and self._of_answers.may(f"{who}: {error.code}"):
            log.warning("%s was answered %s: %s", who, error.code, without_paths(error.text))

    def ended(self, who: str, why: str) -> None:
        """Let the log have why the server ends a session."""
        if self._of_ends.may(f"{who}: {why}"):
            log.warning("the session of %s ends: %s", who, without_paths(why))

    def frame(self, error: OffboardError) -> dict[str, Any]:
        """:meth:`error` as it crosses the wire."""
        return error_frame(self.error(error))

    @staticmethod
    def shown(error: OffboardError) -> tuple[OffboardError, str]:
        """:meth:`error`, and the ref ("" without one) for a caller that logs the whole itself."""
        # The connection of a policy of ours to another server is not the one that the client has to us.
        kind = Internal if isinstance(error, ConnectionFailed) else type(error)
        text, ref = without_paths(error.text), ""
        if text != error.text:
            ref = f"[ref {hashlib.sha256(error.text.encode()).hexdigest()[:6]}] "
        elif kind is type(error):
            return error, ""
        shown = kind.__new__(kind)  # a plugin's class may be made of something else than its text
        shown.args = (ref + text,)
        return shown, ref


class EdgePeer(PeerConnection):
    """A protocol's connection, which is given what a client may have, and whose code ends nothing but itself."""

    def __init__(self, connection: PeerConnection, edge: Edge) -> None:
        self._connection, self.edge = connection, edge
        self.model_id, self.params = connection.model_id, connection.params
        #: Whether :meth:`without_model` can say anything.
        self.answers_alone = type(connection).without_model is not PeerConnection.without_model

    def bridge(self, codec: ResolvedCodec) -> ResolvedCodec:
        """See :meth:`PeerConnection.bridge`."""
        return contained(self._connection.bridge, codec)

    def serializer(self, codec: ResolvedCodec) -> Serializer:
        """See :meth:`PeerConnection.serializer`."""
        return _EdgeSerializer(contained(self._connection.serializer, codec), self.edge)

    def begun(self, session: ServiceSession) -> None:
        """See :meth:`PeerConnection.begun`."""
        contained(self._connection.begun, session)

    def status(self, status: Status) -> Frame | None:
        """See :meth:`PeerConnection.status`."""
        message, phase = without_paths(status.message), without_paths(status.phase)
        return contained(self._connection.status, replace(status, message=message, phase=phase))

    def error(self, error: OffboardError, frame: Frame) -> Frame:
        """See :meth:`PeerConnection.error`."""
        return contained(self._connection.error, self.edge.error(error), frame)

    def is_control(self, frame: Frame) -> bool:
        """See :meth:`PeerConnection.is_control`."""
        return contained(self._connection.is_control, frame)

    def without_model(self, frame: Frame) -> Frame | None:
        """See :meth:`PeerConnection.without_model`."""
        return contained(self._connection.without_model, frame)

    def asks(self, frame: Frame) -> bool:
        """See :meth:`PeerConnection.asks`."""
        return contained(self._connection.asks, frame)

    async def answer(self, frame: Frame, session: ServiceSession) -> Frame | None:
        """See :meth:`PeerConnection.answer`."""
        return await contained_async(self._connection.answer, frame, session)


class EdgeConnection(EdgePeer, FrontendConnection):
    """The same for a socket, with its handshake."""

    def __init__(self, connection: FrontendConnection, edge: Edge) -> None:
        super().__init__(connection, edge)
        self._socket, self.session_id, self.answer_within = connection, connection.session_id, connection.answer_within
        self.takes_views = connection.takes_views

    def ready(self, session: ServiceSession) -> Frame | None:
        """See :meth:`FrontendConnection.ready`."""
        return contained(self._socket.ready, session)

    def refusal(self, error: OffboardError) -> Frame | None:
        """See :meth:`FrontendConnection.refusal`: the whole of such an error is in a line of its own."""
        return contained(self._socket.refusal, error)


class _EdgeSerializer:
    __slots__ = ("_edge", "_inner", "_write", "read", "read_at_once")

    def __init__(self, serializer: Serializer, edge: Edge) -> None:
        self.read, self._write, self._edge, self._inner = serializer.read, serializer.write, edge, serializer
        self.read_at_once = getattr(serializer, "read_at_once", None)

    @property
    def image_files(self) -> int | None:
        found = getattr(self._inner, "image_files", None)
        return found if isinstance(found, int) else None

    @property
    def form(self) -> object:
        return getattr(self._inner, "form", None)

    def write(self, result: Result, timing: dict[str, float], observation: Observation, warnings: list[str]) -> Any:
        if isinstance(result, OffboardError):
            result = self._edge.error(result)
        return self._write(result, timing, observation, warnings)
