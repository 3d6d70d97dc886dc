"""``POST /act``: one observation in, one answer out, for scripts (section 14 of the protocol).

Each request is a session for as long as it lasts, let in as a WebSocket is, and asked the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from time import perf_counter
from typing import Any, NamedTuple

from offboard_client.errors import (
    BadMessage,
    InferTimeout,
    Internal,
    NotFound,
    OffboardError,
    ShuttingDown,
)
from offboard_client.wire import Status, WireLimits, error_frame

from ..engine import PolicyService, ServiceSession, without_paths
from ..frontends import Admission, Edge, EdgeConnection, Frame, Peer, contained
from ..frontends.v1 import ActConnection, encode
from ..frontends.websocket import Receive, Send, peer
from .auth import HOW, Access, token_of
from .refusals import RETRY_AFTER

log = logging.getLogger(__name__)

#: Seconds that a request waits for its model, which is less than proxies wait for an answer; and that its body may take
#: where nobody else bounds that.
MODEL_WAIT, BODY_WAIT = 30.0, 30.0
_LIMITS = WireLimits()
#: An error's code → the status of its answer; what is not here is our fault, or the model's: 500.
_STATUSES = {
    "bad_message": 400, "bad_parameter": 400, "bad_observation": 422, "dialect_unsupported": 422,
    "unauthorized": 401, "forbidden": 403, "not_found": 404, "model_not_found": 404, "deadline_exceeded": 504,
    **dict.fromkeys(("full", "shutting_down", "timeout", "idle", "load_failed", "model_lost"), 503),
}  # fmt: skip
_ALSO = {
    401: [(b"www-authenticate", b"Bearer")],
    405: [(b"allow", b"POST")],
    415: [(b"accept-post", b"application/json")],
    503: [(b"retry-after", str(RETRY_AFTER).encode())],
}


class _Answer(NamedTuple):
    status: int
    body: Frame


class _Refusal(Exception):
    """An answer that has a status of HTTP's own."""

    def __init__(self, status: int, error: OffboardError) -> None:
        self.answer = _Answer(status, _said(error))


class Acts:
    """Answers the requests for one action chunk. Lives on the event loop."""

    def __init__(self, service: PolicyService, admission: Admission, access: Access, edge: Edge) -> None:
        self._service, self._admission, self._access, self._edge = service, admission, access, edge
        # Of each request what it is told from outside, if anything; those whose observation is on its way apart.
        self._waiting: set[asyncio.Future[OffboardError]] = set()
        self._asked: set[asyncio.Future[OffboardError]] = set()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """ASGI."""
        told: asyncio.Future[OffboardError] = asyncio.get_running_loop().create_future()
        self._waiting.add(told)
        asking = asyncio.ensure_future(self._ask(scope, receive, told))
        try:
            await asyncio.wait({asking, told}, return_when=asyncio.FIRST_COMPLETED)
            answer = asking.result() if asking.done() else self._refused(told.result())
            if answer is not None:
                with contextlib.suppress(OSError):  # ASGI's word for a client that is gone
                    await _send(send, answer)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            self._waiting.discard(told)
            self._asked.discard(told)

    @property
    def owes(self) -> bool:
        """Whether a model's answer is waited for, or still to be sent."""
        return bool(self._asked)

    @property
    def open(self) -> bool:
        """Whether any request is not answered yet."""
        return bool(self._asked or self._waiting)

    def drain(self) -> None:
        """Tell those who wait for a model, or are still sending, that they will get none."""
        for told in self._waiting:
            _tell(told, ShuttingDown("the server is going away; try again when it is back"))

    def leave(self) -> None:
        """Tell everybody."""
        self._waiting |= self._asked
        self.drain()

    # -- inside ----------------------------------------------------------------------------------------------------
    async def _ask(
        self, scope: dict[str, Any], receive: Receive, told: asyncio.Future[OffboardError]
    ) -> _Answer | None:
        """None where the client is gone."""
        state: dict[str, Any] = scope.get("state") or {}
        who = Peer("http", peer(scope), token_of(scope["headers"]), HOW, state.get("scarce"))
        try:
            await self._access.check_page(scope["headers"], upgrade=False)
            self._access.check(scope["headers"])
            _check_form(scope)
            with self._admission.enter(who):
                query = scope["query_string"].decode("latin-1")
                connection = EdgeConnection(contained(ActConnection, scope["path"], query), self._edge)
                body = await _body(receive)
                return None if body is None else await self._while_there(receive, connection, body, who, told)
        except _Refusal as refusal:
            return refusal.answer
        except OffboardError as error:
            self._admission.refused(who, error)
            return self._refused(error)
        except Exception:
            log.exception("a request failed")
            return self._refused(Internal("the request failed; the server's log says why"))

    async def _while_there(
        self, receive: Receive, connection: EdgeConnection, body: bytes, who: Peer, told: asyncio.Future[OffboardError]
    ) -> _Answer | None:
        """The answer, or None as soon as nobody waits for it any more."""
        leaving = asyncio.ensure_future(_gone(receive))
        answering = asyncio.ensure_future(self._answer(connection, body, who, told))
        try:
            await asyncio.wait({leaving, answering}, return_when=asyncio.FIRST_COMPLETED)
            return answering.result() if answering.done() else None
        finally:
            for task in (leaving, answering):
                task.cancel()
            await asyncio.gather(leaving, answering, return_exceptions=True)

    async def _answer(
        self, connection: EdgeConnection, body: bytes, who: Peer, told: asyncio.Future[OffboardError]
    ) -> _Answer:
        arrived = perf_counter()
        session = await self._open(connection, who, told)
        try:
            session.on_evict(lambda error: _tell(told, error))
            connection.begun(session)
            self._waiting.discard(told)
            self._asked.add(told)
            reply, error = await _infer(session, body, arrived)
        finally:
            session.close()
        if error is not None:
            self._edge.answered(str(who), error)
        if reply is None:
            reply = connection.error(error or Internal("there is no reply; the server's log says why"), "")
        return _Answer(200 if error is None else _status(error), reply)

    async def _open(self, connection: EdgeConnection, who: Peer, told: asyncio.Future[OffboardError]) -> ServiceSession:
        news = "it waits for its turn"

        async def on_status(status: Status) -> None:
            nonlocal news
            news = without_paths(status.message)

        def late() -> None:
            _tell(told, InferTimeout(f"the model is not there after {MODEL_WAIT:g} s ({news}); ask again"))

        timer = asyncio.get_running_loop().call_later(MODEL_WAIT, late)
        try:
            return await self._service.open(
                connection.model_id, connection.params, bridge=connection.bridge, serializer=connection.serializer,
                holder=str(who), on_status=on_status,
            )  # fmt: skip
        finally:
            timer.cancel()

    def _refused(self, error: OffboardError) -> _Answer:
        return _Answer(_status(error), encode(self._edge.frame(error), True))


def _tell(told: asyncio.Future[OffboardError], error: OffboardError) -> None:
    if not told.done():
        told.set_result(error)


def _status(error: OffboardError) -> int:
    return _STATUSES.get(error.code, 500)


def _said(error: OffboardError) -> Frame:
    return encode(error_frame(error), True)


def _check_form(scope: dict[str, Any]) -> None:
    """What is known before the body is read. Raises _Refusal."""
    if scope["method"] != "POST":
        what = f"{scope['method'][:20]} asks nothing here: POST one observation, as JSON"
        raise _Refusal(405, NotFound(what))
    headers: list[tuple[bytes, bytes]] = list(scope["headers"])
    kinds = [value.decode("latin-1").lower() for name, value in headers if name.lower() == b"content-type"]
    # A web page can send any other type to any server without asking first.
    kind, _, more = (kinds[0] if len(kinds) == 1 else "").partition(";")
    if kind.strip() != "application/json" or more.strip() not in ("", "charset=utf-8"):
        said = f"{', '.join(kinds)[:100]!r}" if kinds else "nothing"
        raise _Refusal(415, BadMessage(f"Content-Type says {said}; an observation comes as application/json"))
    codings = [
        value.decode("latin-1").lower().strip() for name, value in headers if name.lower() == b"content-encoding"
    ]
    if any(coding != "identity" for coding in codings):
        raise _Refusal(415, BadMessage(f"Content-Encoding says {', '.join(codings)[:100]!r}; send the JSON as it is"))
    for name, value in headers:
        if name.lower() == b"content-length" and not _fits(value):
            raise _too_large()


def _fits(length: bytes) -> bool:
    return length.isdigit() and len(length) < 20 and int(length) <= _LIMITS.message_bytes


def _too_large() -> _Refusal:
    return _Refusal(413, BadMessage(f"a request's body has at most {_LIMITS.message_bytes:,} bytes: send JPEG"))


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None where the client is gone. Raises _Refusal."""
    try:
        return await asyncio.wait_for(_read(receive), BODY_WAIT)
    except asyncio.TimeoutError:
        raise _Refusal(408, InferTimeout(f"no whole request came within {BODY_WAIT:g} s")) from None


async def _read(receive: Receive) -> bytes | None:
    parts: list[bytes] = []
    size = 0
    while (message := await receive())["type"] == "http.request":
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > _LIMITS.message_bytes:
            raise _too_large()
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
    return None


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _infer(session: ServiceSession, body: bytes, arrived: float) -> tuple[Frame | None, OffboardError | None]:
    answered: asyncio.Future[tuple[Frame | None, OffboardError | None]] = asyncio.get_running_loop().create_future()

    def deliver(reply: Frame | None, error: OffboardError | None) -> None:
        if not answered.done():
            answered.set_result((reply, error))

    session.submit(body, deliver, arrived)
    return await answered


async def _send(send: Send, answer: _Answer) -> None:
    body = answer.body.encode() if isinstance(answer.body, str) else answer.body
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *_ALSO.get(answer.status, ()),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
