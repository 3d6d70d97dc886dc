"""Starting and stopping the server."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from offboard_client._address import bracketed
from offboard_client._logs import log_to_stderr
from offboard_client.errors import ConfigurationError, InferTimeout

from ..frontend import Frontend
from ..runtime.service import PolicyService
from ..source import ModelSource, from_callables
from ._malloc import keep_freed_memory
from .app import App
from .auth import Gate
from .config import ServerConfig
from .descriptors import provide
from .listening import bind
from .uvicorn_server import Config, UvicornServer

log = logging.getLogger(__name__)

#: Told ``(host, port)`` once the server answers.
OnListening = Callable[[str, int], None]


class _Running:
    """One server on one event loop, from binding the port to letting go of the model."""

    def __init__(
        self, sources: Mapping[str, ModelSource], config: ServerConfig, frontends: Mapping[str, Frontend]
    ) -> None:
        self._sources, self._config, self._frontends = sources, config, frontends
        self.uvicorn: UvicornServer | None = None
        self.address: tuple[str, int] = (config.host, config.port)
        self._stop = False

    async def run(self, on_listening: OnListening) -> None:
        config = self._config
        gate = Gate(config.auth_token, [config.host, *config.allowed_hosts])
        listener = bind(config.host, config.port)
        service = PolicyService(self._sources, config.limits)
        try:
            self.address = service.address = (config.host, listener.getsockname()[1])
            await service.start()
            app = App(service, gate, config, self._frontends)
            server = self.uvicorn = UvicornServer(Config(app, config), app, service, config.grace)
            server.should_exit = self._stop
            serving = asyncio.ensure_future(server.serve([listener]))
            listening = asyncio.ensure_future(server.listening.wait())
            await asyncio.wait({serving, listening}, return_when=asyncio.FIRST_COMPLETED)
            listening.cancel()
            if not serving.done():
                if config.preload:
                    service.preload()
                on_listening(*self.address)
            await serving
        finally:
            listener.close()
            await service.close()

    def stop(self) -> None:
        """Ask it to stop; from any thread."""
        self._stop = True
        if self.uvicorn is not None:
            self.uvicorn.should_exit = True


def _run(running: _Running, on_listening: OnListening) -> None:
    loop = _new_loop()
    try:
        loop.run_until_complete(running.run(on_listening))
    finally:
        loop.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def run_server(
    sources: Mapping[str, ModelSource],
    config: ServerConfig,
    on_listening: OnListening,
    frontends: Mapping[str, Frontend] | None = None,
) -> int:
    """Serve until a signal, in a process that does nothing else. The exit status: 0 after a clean stop.

    Raises ConfigurationError if the port, the token or every source is unusable.
    """
    keep_freed_memory()
    provide(config.max_sessions)
    _run(_Running(sources, config, frontends or {}), on_listening)
    for thread in _threads():
        thread.join(0.25)  # it has been told to end
    if _threads():
        # A model in a call that never returns cannot be stopped, and the interpreter would wait for its thread.
        log.warning("leaving a thread behind that is still in a call")
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


def _threads() -> list[threading.Thread]:
    """Those of the server that still run: a model's, or one that asks a place for its models."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("offboard-")]


class InferenceServer:
    """Serve policies from a dict of callables::

        server = InferenceServer({"model_a": lambda: load_model_a()}, host="0.0.0.0", port=8000)
        server.serve()

    Each callable builds a model when it is loaded, one at a time; the first key is the default. What it returns may
    be a :class:`~offboard_core.Policy`, an object with ``infer`` or ``select_action``, or a plain function of the
    observation; :mod:`offboard_core.adapt` says what these may answer. Any of these may also be given itself, as a
    value or instead of the dict: ``InferenceServer(policy)`` serves one model, named ``policy``. ``registry`` may
    also map names to :class:`~offboard_core.source.ModelSource`. ``frontends`` maps WebSocket paths to other
    protocols. Other keywords are fields of :class:`ServerConfig`.

    :meth:`serve` blocks. As a context manager, or by :meth:`start` and :meth:`stop`, it runs on a thread of its own.
    """

    def __init__(
        self, registry: Mapping[str, Any] | Any, host: str = "127.0.0.1", port: int = 8000, *, fps: float | None = None,
        config: ServerConfig | None = None, frontends: Mapping[str, Frontend] | None = None, **settings: Any,
    ) -> None:  # fmt: skip
        models = cast("Mapping[str, Any]", registry) if isinstance(registry, Mapping) else {"policy": registry}
        if not models:
            raise ConfigurationError("nothing to serve: name at least one model")
        sources = {name: value for name, value in models.items() if isinstance(value, ModelSource)}
        if sources and len(sources) != len(models):
            raise ConfigurationError("give either callables or ModelSources, not both")
        self._sources: Mapping[str, ModelSource] = sources or {"default": from_callables(models, fps=fps)}
        self._frontends = dict(frontends or {})
        self.config = replace(config or ServerConfig(), host=host, port=port, **settings)
        self._running: _Running | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def serve(self) -> None:
        """Serve until Ctrl-C or SIGTERM. Where nobody has set up logging, the log goes to stderr from INFO on."""
        if not logging.getLogger().handlers:
            log_to_stderr("info")
        keep_freed_memory()
        provide(self.config.max_sessions)
        _run(
            _Running(self._sources, self.config, self._frontends),
            lambda host, port: log.info("listening on %s:%d", bracketed(host), port),
        )

    def start(self, timeout: float = 30.0) -> InferenceServer:
        """Serve on a thread of its own; returns once the server answers. Raises what kept it from starting."""
        running = self._running = _Running(self._sources, self.config, self._frontends)
        listening = threading.Event()

        def work() -> None:
            try:
                _run(running, lambda host, port: listening.set())
            except BaseException as error:
                self._failure = error
            finally:
                listening.set()

        self._thread = threading.Thread(target=work, name="offboard-server", daemon=True)
        self._thread.start()
        if not listening.wait(timeout):
            raise InferTimeout(f"the server did not listen within {timeout:g} s")
        if self._failure is not None:
            raise self._failure
        return self

    def stop(self, timeout: float = 15.0) -> None:
        """Stop the server that :meth:`start` began, and wait for it."""
        if self._running is None or self._thread is None:
            return
        self._running.stop()
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise InferTimeout(f"the server did not stop within {timeout:g} s")

    @property
    def host(self) -> str:
        """Where it listens."""
        return self.config.host

    @property
    def port(self) -> int:
        """Where it listens; with port 0 the one that was taken, once started."""
        return self._running.address[1] if self._running is not None else self.config.port

    def __enter__(self) -> InferenceServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
