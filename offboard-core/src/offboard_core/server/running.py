"""One server with an event loop of its own: what ``offboard serve`` and ``InferenceServer`` run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Generator, Mapping
from typing import Any

from ..catalog import ModelSource
from ..engine import Observer, OnProgress
from ..frontends import Frontend
from .config import ServerConfig
from .host import Host
from .listeners import Listeners

#: Told ``(host, port)`` once the server answers.
OnListening = Callable[[str, int], None]


class Running:
    """One :class:`Host` on one event loop, from binding the port to letting go of the model. It runs once."""

    def __init__(
        self, sources: Mapping[str, ModelSource], config: ServerConfig, frontends: Mapping[str, Frontend],
        on_progress: OnProgress | None = None, listeners: Listeners | None = None,
        observers: Mapping[str, Observer] | None = None,
    ) -> None:  # fmt: skip
        self.address: tuple[str, int] = (config.host, config.port)
        self._sources, self._config, self._frontends = sources, config, frontends
        self._on_progress, self._listeners, self._observers = on_progress, listeners, observers
        self._main: asyncio.Task[None] | None = None
        self._told: asyncio.Event | None = None
        self._stopped = False

    def run(self, on_listening: OnListening) -> None:
        """Serve until told to stop, by :meth:`stop` or, on the main thread, a signal.

        Raises what else ended it: a ConfigurationError before it listens, LoadFailed for a default model that can
        never be loaded.
        """
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # it would say at INFO what we say ourselves
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
        if self._told is not None:
            self._told.set()
        elif self._main is not None:
            self._main.cancel()

    async def _serve(self, on_listening: OnListening) -> None:
        host = Host(self._sources, self._config, self._frontends, self._on_progress, self._listeners, self._observers)
        with self._signals(host):  # before it can be reached, and outside: its end can take a while as well
            async with host:
                told = self._told = asyncio.Event()
                self.address = host.address
                on_listening(*host.address)
                serving, stopping = asyncio.ensure_future(host.serve_forever()), asyncio.ensure_future(told.wait())
                try:
                    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
                    if serving.done():
                        serving.result()
                finally:
                    serving.cancel()
                    stopping.cancel()

    @contextlib.contextmanager
    def _signals(self, host: Host) -> Generator[None, None, None]:
        """The first Ctrl-C or SIGTERM stops cleanly, a second one at once; Ctrl-C before it listens is the caller's."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: Any) -> None:
            if self._told is None and (self._stopped or number == signal.SIGINT):
                raise KeyboardInterrupt
            if self._stopped:
                host.hurry()
            self.stop()

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
