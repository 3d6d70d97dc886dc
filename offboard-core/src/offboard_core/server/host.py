"""One server on the running loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from functools import cached_property
from types import TracebackType

from offboard_client.errors import LoadFailed

from ..catalog import ModelSource
from ..engine import Observer, OnProgress, PolicyService
from ..frontends import Admission, Frontend, make_frontends
from ..plugins import Plugins
from .app import App
from .asgi import AsgiApp, log_given_up
from .config import ServerConfig
from .door import make_door
from .listeners import Listeners
from .listening import bind
from .uvicorn_server import Config, UvicornServer


class Host:
    """A server that listens inside the block, on the loop that runs the block::

        async with Host({"default": source}, ServerConfig(port=0)) as host:
            print(host.address)
            await host.serve_forever()

    Signals, the allocator and the limit of file descriptors are left alone: they are the process's, and ``offboard
    serve`` sets them for its own. Leaving the block drains for ``config.grace`` seconds, unless that was done, and lets
    go of everything. ``frontends``: other protocols, by the WebSocket path they are spoken on; those of the installed
    plugins if None. ``on_progress``: told how the load of the default model stands, instead of the log. ``listeners``:
    what listens beside it, on the same address. ``observers``: who watches the exchanges, by a name for people;
    closed with it, also if it cannot be entered.

    Entering raises ConfigurationError for a port, a token, a certificate, frontends, sources or a listener that cannot
    be used.
    """

    def __init__(
        self, sources: Mapping[str, ModelSource], config: ServerConfig, frontends: Mapping[str, Frontend] | None = None,
        on_progress: OnProgress | None = None, listeners: Listeners | None = None,
        observers: Mapping[str, Observer] | None = None,
    ) -> None:  # fmt: skip
        #: Where it listens; inside the block with the port that was taken.
        self.address: tuple[str, int] = (config.host, config.port)
        self._config, self._frontends, self._on_progress = config, frontends, on_progress
        self._service, self._listeners = PolicyService(sources, config.limits, observers), listeners or Listeners()
        self._watched = False
        self._open = contextlib.AsyncExitStack()
        self._uvicorn: UvicornServer
        self._serving: asyncio.Task[None]
        self._never: asyncio.Future[LoadFailed]

    async def __aenter__(self) -> Host:
        async with contextlib.AsyncExitStack() as opening:
            config, service = self._config, self._service
            opening.push_async_callback(service.observers.close)
            app, admission = self._app, self._admission  # made here, where what they raise closes the observers, too
            listener = bind(config.host, config.port)
            opening.callback(listener.close)
            self.address = service.address = (config.host, listener.getsockname()[1])
            patience = {path: each.pong_timeout for path, each in self._spoken.items() if each.pong_timeout is not None}
            door = make_door(config.max_sessions) if config.shared_memory else None
            if door is not None:
                opening.callback(door.close)
            self._uvicorn = UvicornServer(Config(app, config, patience, door))
            await opening.enter_async_context(app.lifespan())
            opening.push_async_callback(self._listeners.close)
            await self._listeners.start(service, admission, listener.getsockname()[0])
            loop = asyncio.get_running_loop()
            self._never = loop.create_future()
            self._serving = loop.create_task(self._uvicorn.serve([listener]))
            opening.push_async_callback(self._end)
            listening = loop.create_task(self._uvicorn.listening.wait())
            await asyncio.wait({self._serving, listening}, return_when=asyncio.FIRST_COMPLETED)
            listening.cancel()
            if self._serving.done():
                self._serving.result()
            if config.preload:
                service.preload(self._give_up, self._on_progress)
            self._open = opening.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.__aexit__(kind, error, trace)

    async def serve_forever(self) -> None:
        """Until it is cancelled. Raises LoadFailed if the default model can never be loaded, and what else ends it.

        Without it such a failure is logged, and every session on that model refused.
        """
        self._watched = True
        await asyncio.wait({self._serving, self._never}, return_when=asyncio.FIRST_COMPLETED)
        if self._never.done():
            raise self._never.result()
        await asyncio.shield(self._serving)

    async def drain(self, grace: float) -> None:
        """Refuse newcomers; return when nobody waits for an answer any more, or after ``grace`` seconds."""
        await self._app.drain(grace)

    def hurry(self) -> None:
        """Let :meth:`drain` end, and wait for no client when the block is left."""
        self._app.hurry()
        self._uvicorn.force_exit = True

    @cached_property
    def _admission(self) -> Admission:
        return self._config.admission(self._service)

    @cached_property
    def _spoken(self) -> Mapping[str, Frontend]:
        return make_frontends(Plugins.discover()) if self._frontends is None else self._frontends

    @cached_property
    def _app(self) -> AsgiApp:
        hosts = [self._config.host, *self._config.allowed_hosts]
        return AsgiApp(self._service, App(self._service, self._admission, self._spoken, hosts, self._listeners))

    def _give_up(self, error: LoadFailed) -> None:
        """The default model can never be loaded."""
        if self._never.done():
            return
        self._never.set_result(error)
        if not self._watched:
            log_given_up(error)

    async def _end(self) -> None:
        try:
            if not self._app.drained:
                await self.drain(self._config.grace)
            await self._app.farewell()
        finally:
            self._uvicorn.should_exit = True
            await self._serving
