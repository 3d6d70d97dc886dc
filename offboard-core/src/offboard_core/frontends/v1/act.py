"""One observation and its answer, without a session that outlives them (section 14 of the protocol)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from offboard_client.errors import BadMessage, BadObservation, BadParameter
from offboard_client.wire import CONTEXT

from ...catalog import ResolvedCodec
from ...engine import ServiceSession
from ...types import Observation
from .frontend import V1Connection
from .serializer import Dialect, Layout, V1Serializer

#: Where an observation is taken; behind either there may be ``/`` and a model's id.
ACT_PATHS = ("/api/v1/act", "/act")
_HISTORY = CONTEXT["history"]


def is_act(path: str) -> bool:
    """Whether this is one of :data:`ACT_PATHS`, with a model's id or without."""
    return any(path == each or path.startswith(each + "/") for each in ACT_PATHS)


class ActConnection(V1Connection):
    """One request's. ``path``: of :func:`is_act`. The query says what a session's says, but for what needs a session.

    Raises BadParameter.
    """

    def __init__(self, path: str, query: str) -> None:
        (root,) = (each for each in ACT_PATHS if path == each or path.startswith(each + "/"))
        super().__init__(path[len(root) :].removeprefix("/") or None, query)
        if self.session_id is not None:
            raise BadParameter("session_id takes a session back, and a request leaves none: open a session for that")
        if ("encoding", "msgpack") in parse_qsl(query):
            raise BadParameter("encoding=msgpack is for sessions; a request and its answer are JSON")
        self._text, self._dialect = True, self._dialect or "offboard"
        self._looks_back = False

    def begun(self, session: ServiceSession) -> None:
        """Whether the model goes by what was before, which no request can know of another."""
        meta = session.meta
        self._looks_back = "history" in meta["context"] or "history" in meta.get("context_refused", ())

    def serializer(self, codec: ResolvedCodec) -> V1Serializer:
        """See :meth:`FrontendConnection.serializer`."""
        return _ActSerializer(codec, self._dialect, self._layout, lambda: self._looks_back)


class _ActSerializer(V1Serializer):
    """``looks_back``: whether an observation has to bring its history."""

    def __init__(
        self, codec: ResolvedCodec, dialect: Dialect | None, layout: Layout, looks_back: Callable[[], bool]
    ) -> None:
        super().__init__(codec, dialect, layout)
        self._text = True
        self._looks_back = looks_back

    def read(self, frame: Any) -> tuple[Observation, list[str]]:
        """The body of a request. Raises BadMessage or BadObservation."""
        try:
            text = frame.decode()
        except UnicodeDecodeError:
            raise BadMessage("the body is not UTF-8, as JSON is") from None
        observation, warnings = super().read(text)
        if self._looks_back() and observation.get(_HISTORY) is None:
            raise BadObservation(
                f"this model looks back, and a request knows of none before it: bring {_HISTORY} "
                "(one map for each of meta.history's offsets_sec, as `offboard probe` prints them), or open a session, "
                "in which the server keeps what came"
            )
        return observation, warnings
