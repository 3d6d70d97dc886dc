"""The ASGI application: HTTP to its routes, WebSockets straight to the session of their protocol."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from offboard_client.errors import Forbidden, Full, NotFound, OffboardError, ShuttingDown, Unauthorized
from offboard_client.wire import SESSION_PATH, error_frame

from ..engine import PolicyService
from ..frontends import Edge, Frontend
from ..frontends.v1 import V1, encode
from ..frontends.websocket import Receive, Send, SessionProtocol, peer, serve_socket
from .auth import Access
from .config import ServerConfig
from .http import make_http
from .turns import Turns

log = logging.getLogger(__name__)

#: Seconds after which a client that found the server full may try again.
RETRY_AFTER = 5


class App:
    """``frontends``: other protocols, by the exact WebSocket path they are spoken on.

    Refusals come before the upgrade: 401 for a token, 403 for a path or a foreign web page, 503 for a server
    that is full or draining.
    """

    def __init__(
        self, service: PolicyService, access: Access, config: ServerConfig, frontends: Mapping[str, Frontend]
    ) -> None:
        self._draining = False
        self._service, self._access, self._config = service, access, config
        self._frontends, self._v1 = dict(frontends), V1()
        self._edge = Edge()
        self._http = make_http(service, access, self._edge)
        self._sockets = 0
        self._protocols: set[SessionProtocol] = set()
        self._turns = Turns()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """ASGI."""
        await self._turns.mine()
        if scope["type"] != "websocket":
            await self._http(scope, receive, send)  # pyright: ignore[reportArgumentType]
            return
        try:
            frontend = self._frontend(scope["path"])
            await self._access.check_page(scope["headers"], upgrade=True)
            self._admit(scope)
        except OffboardError as error:
            self._service.stats.refused[error.code] += 1
            log.warning("refused a session of %s: %s", peer(scope), error.text)
            await receive()
            await _answer(send, error)
            return
        self._sockets += 1
        try:
            await serve_socket(self._service, frontend, scope, receive, send, self._edge, self._protocols)
        finally:
            self._sockets -= 1

    def drain(self) -> None:
        """Take no session any more, and say so where health is asked for."""
        self._draining = True
        self._service.slot.drain()

    @property
    def owes(self) -> bool:
        """Whether a client still waits for an answer."""
        return any(one.owes for one in self._protocols)

    def _frontend(self, path: str) -> Frontend:
        if path == SESSION_PATH or path.startswith(SESSION_PATH + "/"):
            return self._v1
        if path not in self._frontends:
            others = "".join(f", {path}" for path in self._frontends)
            raise NotFound(f"no session is opened under {path[:200]!r}; there are: {SESSION_PATH}[/MODEL_ID]{others}")
        return self._frontends[path]

    def _admit(self, scope: dict[str, Any]) -> None:
        self._access.check(scope["headers"])
        if self._draining:
            raise ShuttingDown("the server is going away; try again when it is back")
        if scope.get("state", {}).get("scarce"):
            raise Full("the server has no file descriptors left (ulimit -n); try again when others have gone")
        quiet = self._config.quiet
        if self._sockets >= self._config.max_sessions and not self._service.make_room(quiet):
            raise Full(
                f"the server has {self._sockets} sessions, as many as it takes (--max-sessions), and none of them has "
                f"been quiet for {quiet:g} s; try again later"
            )


async def _answer(send: Send, error: OffboardError) -> None:
    status, headers = 503, [(b"retry-after", str(RETRY_AFTER).encode())]
    if isinstance(error, Unauthorized):
        status, headers = 401, [(b"www-authenticate", b"Bearer")]
    elif isinstance(error, Forbidden | NotFound):
        status, headers = 403, []  # Positronic's clients take 403 under a path that is none for a server that is up
    body: Any = encode(error_frame(error), True)
    start = {"type": "websocket.http.response.start", "status": status}
    await send({**start, "headers": [(b"content-type", b"application/json"), *headers]})
    await send({"type": "websocket.http.response.body", "body": body.encode()})
