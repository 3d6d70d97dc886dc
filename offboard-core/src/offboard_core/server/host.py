"""One server on an event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from offboard_client.errors import LoadFailed

from ..catalog import ModelSource
from ..engine import OnProgress, PolicyService
from ..frontends import Frontend
from .app import App
from .config import ServerConfig
from .listening import bind
from .uvicorn_server import Config, UvicornServer

#: Told ``(host, port)`` once the server answers.
OnListening = Callable[[str, int], None]


class Running:
    """One server on one event loop, from binding the port to letting go of the model. It runs once."""

    def __init__(
        self, sources: Mapping[str, ModelSource], config: ServerConfig, frontends: Mapping[str, Frontend],
        on_progress: OnProgress | None = None,
    ) -> None:  # fmt: skip
        self.address: tuple[str, int] = (config.host, config.port)
        self._sources, self._config, self._frontends = sources, config, frontends
        self._on_progress = on_progress
        self._main: asyncio.Task[None] | None = None
        self._uvicorn: UvicornServer | None = None
        self._stopped = False
        self._never: LoadFailed | None = None

    def run(self, on_listening: OnListening) -> None:
        """Serve until told to stop, by :meth:`stop` or, on the main thread, a signal.

        Raises what else ended it: a ConfigurationError before it listens, LoadFailed for a default model that can
        never be loaded.
        """
        loop = _new_loop()
        try:
            main = self._main = loop.create_task(self._serve(on_listening))
            if self._stopped:
                main.cancel()
            try:
                loop.run_until_complete(main)
            finally:
                if not main.done():  # a Ctrl-C, or the loop was stopped: it still has to be cleaned up
                    self._stop()
                    loop.run_until_complete(asyncio.wait({main}))
        except asyncio.CancelledError:
            if not self._stopped:
                raise
        finally:
            loop.close()

    def stop(self) -> None:
        """Ask it to stop; from any thread."""
        self._stopped = True
        if self._main is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended
                self._main.get_loop().call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True
        elif self._main is not None:
            self._main.cancel()

    def _give_up(self, error: LoadFailed) -> None:
        """The default model can never be loaded."""
        self._never = error
        self._stop()

    async def _serve(self, on_listening: OnListening) -> None:
        config = self._config
        service = PolicyService(self._sources, config.limits)
        admission = config.admission(service)
        listener = bind(config.host, config.port)
        try:
            self.address = service.address = (config.host, listener.getsockname()[1])
            await service.start()
            app = App(service, admission, self._frontends, [config.host, *config.allowed_hosts])
            server = self._uvicorn = UvicornServer(Config(app, config), app)
            serving = asyncio.ensure_future(server.serve([listener]))
            listening = asyncio.ensure_future(server.listening.wait())
            await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
            listening.cancel()
            if not serving.done():
                if config.preload:
                    service.preload(self._give_up, self._on_progress)
                on_listening(*self.address)
            await serving
            if self._never is not None:
                raise self._never
        finally:
            listener.close()
            await service.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
