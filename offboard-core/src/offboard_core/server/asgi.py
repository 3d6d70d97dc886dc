"""The server as an ASGI application, for any server of such: it owns no port, no loop and nothing of the process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any

from offboard_client.errors import ConfigurationError, Internal, LoadFailed, OffboardError, ShuttingDown, told

from ..engine import PolicyService
from ..frontends import Admission, Frontend, make_frontends
from ..frontends.websocket import Receive, Send
from ..plugins import Plugins
from .app import App
from .refusals import refuse_request, refuse_upgrade

log = logging.getLogger(__name__)

#: Seconds that clients have to take the close of their sessions.
FAREWELL = 1.0


def asgi_app(
    service: PolicyService, *, frontends: Mapping[str, Frontend] | None = None, admission: Admission | None = None,
    hosts: Iterable[str] = (), preload: bool = True, wait: bool = True, grace: float = 3.0,
) -> AsgiApp:  # fmt: skip
    """``service`` as an application, with its HTTP routes and its sessions, for a server that speaks ASGI.

    ``frontends``: other protocols, by the WebSocket path they are spoken on; those of the installed plugins if None.
    ``admission``: who may begin a session; everybody up to its defaults if None. ``hosts``: names of this server that
    it cannot know, for requests without a token (A-10). ``preload``: load the default model at the start, and with
    ``wait`` end the start only when it is there. ``grace``: how long an exchange in flight may take to end when the
    server goes (s).
    Raises ConfigurationError for frontends that cannot be offered together.
    """
    found = make_frontends(Plugins.discover()) if frontends is None else frontends
    app = App(service, admission or Admission(service), found, hosts)
    return AsgiApp(service, app, preload=preload, wait=wait, grace=grace)


class AsgiApp:
    """What :func:`asgi_app` makes. It lives once, on one event loop.

    A server tells it by ASGI's lifespan when to begin and to end. An application that it is mounted in keeps that for
    itself: hand it :meth:`lifespan`.
    """

    def __init__(
        self, service: PolicyService, app: App, *, preload: bool = False, wait: bool = False, grace: float = 0.0
    ) -> None:
        self._service, self._app = service, app
        self._preload, self._wait, self._grace = preload, wait, grace
        #: Whether a drain was asked for.
        self.drained = False
        self._begun = self._running = self._hurried = self._missed = False
        self._never: LoadFailed | None = None

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await self._hear(receive, send)
        elif self._running:
            await self._app(_below(scope), receive, send)
        elif scope["type"] == "websocket":
            await refuse_upgrade(scope, receive, send, self._absent())
        else:
            await refuse_request(send, self._absent())

    @contextlib.asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None]:
        """From deciding on the models to letting go of them; ``app`` is for frameworks, which pass themselves.

        Raises ConfigurationError where no source has a model, and LoadFailed for a default model that can never be
        loaded, if it is waited for.
        """
        if self._begun:
            raise ConfigurationError("this application has been started before, and lives once: make another one")
        self._begun = True
        try:
            await self._service.start()
            if self._preload:
                tried = self._service.preload(self._give_up)
                if self._wait:
                    await tried
                    if self._never is not None:
                        raise self._never
            self._running = True
            yield
            if not self.drained:
                await self.drain(self._grace)
        finally:
            self._app.drain()
            try:
                await self._app.leave(FAREWELL)
            finally:
                self._running = False
                await self._service.close()

    async def drain(self, grace: float) -> None:
        """Refuse newcomers; return when nobody waits for an answer any more, or after ``grace`` seconds."""
        self.drained = True
        self._app.drain()
        loop = asyncio.get_running_loop()
        end = loop.time() + grace
        # Polled, once in the server's life: with an event every exchange would pay for it.
        while self._app.owes and loop.time() < end and not self._hurried:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    async def farewell(self) -> None:
        """Close every session, with the reason; before whoever hosts this closes their sockets without one."""
        await self._app.leave(0.0 if self._hurried else FAREWELL)

    def hurry(self) -> None:
        """Let no :meth:`drain` wait any longer."""
        self._hurried = True

    async def _hear(self, receive: Receive, send: Send) -> None:
        phase = "startup"
        try:
            await receive()
            async with self.lifespan():
                await send({"type": "lifespan.startup.complete"})
                phase = "shutdown"
                await receive()
        except OffboardError as error:
            await send({"type": f"lifespan.{phase}.failed", "message": error.text})
        except Exception as error:
            log.exception("the application could not be %s", "started" if phase == "startup" else "ended")
            await send({"type": f"lifespan.{phase}.failed", "message": told(error)})
        else:
            await send({"type": "lifespan.shutdown.complete"})

    def _give_up(self, error: LoadFailed) -> None:
        if self._never is None and self._running:
            log_given_up(error)
        self._never = error

    def _absent(self) -> OffboardError:
        if self._begun:
            return ShuttingDown("the server is going away; try again when it is back")
        if not self._missed:
            self._missed = True
            log.error(
                "a request came before the application was started: the server has to speak ASGI's lifespan, and an "
                "application that this one is mounted in has to enter its lifespan"
            )
        return Internal("the server was not started; its log says how that is done")


def log_given_up(error: LoadFailed) -> None:
    """Where nobody waits for the default model, which can never be loaded."""
    log.error("the default model can never be loaded, and every session on it is refused: %s", error.text)


def _below(scope: dict[str, Any]) -> dict[str, Any]:
    """``scope`` with the path below the one that it is mounted at: that is where its routes are."""
    root: str = scope.get("root_path") or ""
    path: str = scope["path"]
    if not root or not (path == root or path.startswith(root + "/")):
        return scope
    return {**scope, "path": path[len(root) :] or "/", "root_path": ""}
