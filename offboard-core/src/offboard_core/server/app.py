"""The ASGI application: HTTP to its routes, WebSockets straight to the session of their protocol."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from offboard_client.errors import NotFound, OffboardError
from offboard_client.wire import SESSION_PATH

from ..engine import PolicyService
from ..frontends import Admission, Edge, Frontend, Peer
from ..frontends.v1 import V1, is_act
from ..frontends.websocket import Receive, Send, SessionProtocol, peer, serve_socket
from .act import Acts
from .auth import HOW, Access, token_of
from .http import make_http
from .listeners import Listeners
from .refusals import refuse_upgrade


class App:
    """``frontends``: other protocols, by the exact WebSocket path they are spoken on. ``hosts``: see :class:`Access`.

    ``listeners``: what listens beside it, to drain and to tell of; whoever hosts the app starts and closes them.

    Refusals come before the upgrade: 401 for a token, 403 for a path or a foreign web page, 503 for a server
    that is full or draining.
    """

    def __init__(
        self, service: PolicyService, admission: Admission, frontends: Mapping[str, Frontend],
        hosts: Iterable[str] = (), listeners: Listeners | None = None,
    ) -> None:  # fmt: skip
        self._service, self._admission, self._access = service, admission, Access(admission, hosts)
        self._frontends, self._v1 = dict(frontends), V1()
        self._edge = Edge()
        self._listeners = listeners or Listeners()
        self._http = make_http(service, self._access, self._edge, self._listeners)
        self._acts = Acts(service, admission, self._access, self._edge)
        self._protocols: set[SessionProtocol] = set()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """ASGI."""
        await self._admission.turn()
        if scope["type"] != "websocket":
            if is_act(scope["path"]):
                await self._acts(scope, receive, send)
                return
            await self._http(scope, receive, send)  # pyright: ignore[reportArgumentType]
            return
        with contextlib.ExitStack() as place:
            state: dict[str, Any] = scope.get("state") or {}
            who = Peer("websocket", peer(scope), token_of(scope["headers"]), HOW, state.get("scarce"))
            try:
                frontend = self._frontend(scope["path"])
                await self._access.check_page(scope["headers"], upgrade=True)
                place.enter_context(self._admission.enter(who))
            except OffboardError as error:
                self._admission.refused(who, error)
                await refuse_upgrade(scope, receive, send, error)
                return
            await serve_socket(self._service, frontend, scope, receive, send, self._edge, self._protocols)

    def drain(self) -> None:
        """Take no session any more, and say so where health is asked for."""
        self._admission.drain()
        self._acts.drain()
        self._listeners.drain()

    async def leave(self, timeout: float) -> None:
        """Close every session, and wait so many seconds for their clients to take that."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        self._acts.leave()
        for one in self._protocols:
            one.going_away()
        while (self._protocols or self._acts.open) and loop.time() < end:  # noqa: ASYNC110 (once in the server's life)
            await asyncio.sleep(0.02)

    @property
    def owes(self) -> bool:
        """Whether a client still waits for an answer."""
        return any(one.owes for one in self._protocols) or self._acts.owes or self._listeners.owes

    def _frontend(self, path: str) -> Frontend:
        if path == SESSION_PATH or path.startswith(SESSION_PATH + "/"):
            return self._v1
        if path not in self._frontends:
            others = "".join(f", {path}" for path in self._frontends)
            raise NotFound(f"no session is opened under {path[:200]!r}; there are: {SESSION_PATH}[/MODEL_ID]{others}")
        return self._frontends[path]
