"""What Protocol v1 says around the observations: the handshake and the control frames."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import parse_qsl

from offboard_client.errors import BadParameter, DialectUnsupported, OffboardError
from offboard_client.wire import (
    CONTROL_BYTES,
    RESERVED_PARAMS,
    SEQ,
    SESSION_PATH,
    Ready,
    Status,
    called,
    control_answer,
    control_kind,
    control_params,
    error_frame,
)

from ...catalog import ResolvedCodec
from ...engine import ServiceSession
from .. import Frame, Frontend, FrontendConnection, Scope, SocketMemory, find_seq, memory_of, read_control
from . import replies
from .serializer import Dialect, Layout, V1Serializer, encode

#: The key ``type`` as JSON and msgpack write it; the length byte keeps ``dtype``, which every array has, apart.
_TEXT_TYPE, _TYPE = '"type"', b"\xa4type"


class V1(Frontend):
    """The frontend of the routes below ``/api/v1/session``."""

    def connect(self, scope: Scope) -> V1Connection:
        """Raises BadParameter for a malformed query."""
        path: str = scope["path"]
        agents = [value for name, value in scope["headers"] if name == b"user-agent"]
        return V1Connection(
            path[len(SESSION_PATH) :].removeprefix("/") or None,
            scope["query_string"].decode("latin-1"),
            python=any(b"websockets/" in agent for agent in agents),
            memory=memory_of(scope),
        )

    def refuse(self, scope: Scope, error: OffboardError) -> Frame:
        """In the encoding that the query seems to ask for, since it could not be read."""
        return encode(error_frame(error, handshake=True), b"encoding=json" in scope["query_string"])


class V1Connection(FrontendConnection):
    """One socket's. The query's reserved names choose the form of the session, all others are parameters.

    ``python``: it was opened by Python's websockets, as those of all Positronic's clients are.
    """

    takes_views = True

    def __init__(
        self, model_id: str | None, query: str, *, python: bool = False, memory: SocketMemory | None = None
    ) -> None:
        self.model_id = model_id
        params: list[tuple[str, str]] = []
        own: dict[str, str] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            if name not in RESERVED_PARAMS:
                params.append((name, value))
            elif name in own:
                raise BadParameter(f"{name} was given twice")
            else:
                own[name] = value
        dialect = _one_of("dialect", own.get("dialect"), ("offboard", "positronic"))
        layout = _one_of("layout", own.get("layout"), ("rows", "columns"))
        self.params = params
        self.session_id = own.get("session_id")
        self._dialect: Dialect | None = cast("Dialect | None", dialect)
        # To others the name would be new, and this one says that it knows the protocol.
        self._memory = memory if dialect == "offboard" else None
        self._python = python and own.get("encoding") != "json"
        self._layout: Layout = cast("Layout", layout or "rows")
        self._text = _one_of("encoding", own.get("encoding"), ("json", "msgpack")) == "json"

    def bridge(self, codec: ResolvedCodec) -> ResolvedCodec:
        """``codec``. Raises DialectUnsupported for a client of Positronic's where nothing says the rate.

        Such a client fails on ``action_fps`` null with an error of Python's, and could play nothing.
        """
        theirs = self._dialect == "positronic"
        if codec.meta.action_fps is None and (theirs or (self._dialect is None and self._python)):
            others = "" if theirs else " (another client says so with ?dialect=offboard)"
            raise DialectUnsupported(replies.NO_RATE + others)
        return codec

    def serializer(self, codec: ResolvedCodec) -> V1Serializer:
        """See :meth:`FrontendConnection.serializer`."""
        return V1Serializer(codec, self._dialect, self._layout)

    def status(self, status: Status) -> Frame:
        """``waiting`` or ``loading``."""
        return encode(status.frame(), self._text)

    def ready(self, session: ServiceSession) -> Frame:
        """``ready`` with the meta."""
        offer = None if self._memory is None or self._text else self._memory.offer()
        return encode(Ready(session.meta, session.id, offer).frame(), self._text)

    def refusal(self, error: OffboardError) -> Frame:
        """``error``."""
        return encode(error_frame(error, handshake=True), self._text)

    def error(self, error: OffboardError, frame: Frame) -> Frame:
        """In the encoding of what it answers, with its number where that can be had without reading the whole."""
        reply, seq = error_frame(error), find_seq(frame)
        return encode(reply if seq is None else {**reply, SEQ: seq}, isinstance(frame, str))

    def is_control(self, frame: Frame) -> bool:
        """Whether it is short and has a top-level key ``type``."""
        if len(frame) >= CONTROL_BYTES or (_TEXT_TYPE not in frame if isinstance(frame, str) else _TYPE not in frame):
            return (
                False  # as most observations, which are not looked into twice; a long one is not looked through at all
            )
        return "type" in (read_control(frame) or {})

    async def answer(self, frame: Frame, session: ServiceSession) -> Frame:
        """``reset``, ``ping``, ``stats``, and what ``meta.controls`` lists. Raises BadMessage for any other type."""
        return encode(await _control(frame, session), isinstance(frame, str))


def _one_of(name: str, value: str | None, choices: tuple[str, ...]) -> str | None:
    if value is not None and value not in choices:
        raise BadParameter(f"{name}={value[:80]!r} is unknown; it is one of {', '.join(choices)}")
    return value


async def _control(frame: Frame, session: ServiceSession) -> dict[str, Any]:
    control = read_control(frame) or {}
    kind = control_kind(control, session.meta["controls"])
    if kind == "reset":
        await session.reset()
        return control_answer(kind)
    if kind == "ping":
        return control_answer(kind, model_ms=await session.ping(), checkpoint_id=session.meta["checkpoint_id"])
    if kind == "stats":
        return control_answer(kind, **session.pipeline.stats.summary())
    assert kind is not None
    return called(kind, await session.call(kind, control_params(control)))
