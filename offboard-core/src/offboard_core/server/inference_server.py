"""The server as an object of a program: ``InferenceServer``."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from offboard_client.errors import ConfigurationError, InferTimeout, log_to_stderr
from offboard_client.protocol import bracketed

from ..catalog import ModelSource, from_callables
from ..engine import Observer, name_observers
from ..frontends import Frontend, Listener, make_frontends, make_listeners, provide
from ..plugins import Plugins
from ._malloc import keep_freed_memory
from .config import ServerConfig
from .listeners import Listeners
from .listening import reachable
from .running import Running

log = logging.getLogger(__name__)

#: Seconds a server gets to end whose start failed.
_GIVEN_UP = 15.0
#: Seconds of one part of a wait.
_PART = 0.5


class InferenceServer:
    """Serve policies from a dict of callables::

        server = InferenceServer({"model_a": lambda: load_model_a()}, host="0.0.0.0", port=8000)
        server.serve()

    Each callable builds a model when it is loaded, one at a time; the first key is the default. What it returns may
    be a :class:`~offboard_core.Policy`, an object with ``infer`` or ``select_action``, or a plain function of the
    observation; :mod:`offboard_core.catalog.callables` says what these may answer. Any of these may be given itself,
    as a value or instead of the dict: ``InferenceServer(policy)`` serves one model, named ``policy``. ``registry`` may
    also map names to :class:`~offboard_core.catalog.source.ModelSource`.

    ``frontends``: other protocols, by the WebSocket path they are spoken on; those of the installed plugins if None,
    and ``{}`` for none. ``listeners``: those that get a port of their own, as ``offboard serve --listen`` names them
    (``["gr00t:5555"]``), or what :func:`~offboard_core.frontends.make_listeners` makes.
    ``replicas``: how many policies of a model are loaded beside each other, by as many calls of its callable; each
    session is with one of them.
    ``observers`` watch the exchanges, by their class or a name; they are closed with the server, which with them cannot
    be started again. ``recording_dir``: each session is recorded there as MCAP (``offboard-core[record]``).
    Other keywords are fields of :class:`ServerConfig`.
    Raises ConfigurationError for what cannot be served so.

    :meth:`serve` blocks. As a context manager, or by :meth:`start` and :meth:`stop`, it runs on a thread of its own. If
    it ends by itself, the reason is logged, and raised once: by :meth:`wait`, :meth:`stop` or the end of the ``with``
    block, whichever comes first. After its end it may be started again.
    """

    def __init__(
        self, registry: Mapping[str, Any] | Any, host: str = "127.0.0.1", port: int = 8000, *, fps: float | None = None,
        replicas: int = 1, config: ServerConfig | None = None, frontends: Mapping[str, Frontend] | None = None,
        listeners: Mapping[str, tuple[Listener, int]] | Sequence[str] = (),
        observers: Sequence[Observer] | Mapping[str, Observer] = (),
        recording_dir: str | Path | None = None, **settings: Any,
    ) -> None:  # fmt: skip
        models = cast("Mapping[str, Any]", registry) if isinstance(registry, Mapping) else {"policy": registry}
        if not models:
            raise ConfigurationError("nothing to serve: name at least one model")
        sources = {name: value for name, value in models.items() if isinstance(value, ModelSource)}
        if sources and len(sources) != len(models):
            raise ConfigurationError("give either callables or ModelSources, not both")
        self._sources: Mapping[str, ModelSource] = sources or {"default": from_callables(models, fps, replicas)}
        if isinstance(listeners, str):
            listeners = [listeners]
        named = not isinstance(listeners, Mapping) and len(listeners) > 0
        plugins = Plugins.discover() if frontends is None or named else Plugins.of()
        self._frontends = make_frontends(plugins) if frontends is None else dict(frontends)
        #: What listens beside it, and where.
        self.listeners = Listeners(listeners if isinstance(listeners, Mapping) else make_listeners(plugins, listeners))
        self._observers = dict(observers) if isinstance(observers, Mapping) else name_observers(observers)
        if recording_dir is not None:
            from ..recording import RecordingOptions, SessionRecorder  # video's libraries are large

            self._observers["recording"] = SessionRecorder(RecordingOptions(dir=Path(recording_dir)))
        self.config = ServerConfig.of(config, {"host": host, "port": port, **settings})
        self._running: Running | None = None
        self._over = threading.Event()
        self._over.set()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def serve(self) -> None:
        """Serve until Ctrl-C, SIGTERM, or :meth:`stop` from another thread; returns then, whatever still hangs.

        Raises what keeps it from starting, or ends it. The log says how to connect to it. Where nobody has set up
        logging, it goes to stderr from INFO on.
        """
        running, over = self._begin()
        try:
            if not logging.getLogger().handlers:
                log_to_stderr("info")
            keep_freed_memory()
            provide(self.config.max_sessions, (1 + self.config.shared_memory) * self.config.max_sessions)
            running.run(self._tell)
        finally:
            over.set()

    def start(self, timeout: float = 30.0) -> InferenceServer:
        """Serve on a thread of its own; returns once the server answers.

        Raises what kept it from starting, and InferTimeout after ``timeout`` seconds; then nothing of it runs.
        """
        running, over = self._begin()
        settled = threading.Event()
        answers = False

        def listens(host: str, port: int) -> None:
            nonlocal answers
            answers = True
            settled.set()

        def work() -> None:
            try:
                running.run(listens)
            except BaseException as error:
                self._failure = error
                if answers:
                    log.error("the server on %s has ended by itself", self._where(), exc_info=error)
            finally:
                over.set()
                settled.set()

        thread = threading.Thread(target=work, name="offboard-server", daemon=True)
        try:
            # Inside, for Ctrl-C may come before this returns, when the server runs already.
            self._start(thread)
            if not _wait(settled, timeout):
                raise InferTimeout(f"the server did not listen within {timeout:g} s")
            self._raise_failure()
            if not answers:
                raise ConfigurationError("the server was stopped before it listened")
        except BaseException:  # Ctrl-C, too
            running.stop()
            self._has_ended(_GIVEN_UP)
            self._failure = None
            raise
        return self

    def wait(self, timeout: float | None = None) -> bool:
        """Until the server has ended; False if it still runs after ``timeout`` seconds. Raises what ended it."""
        if not self._has_ended(timeout):
            return False
        self._raise_failure()
        return True

    def stop(self, timeout: float = 15.0) -> None:
        """Stop the server and wait for its end. Raises what had ended it before, if anything did; InferTimeout."""
        if self._running is not None:
            self._running.stop()
        if not self.wait(timeout):
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

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.stop()
        except Exception:
            if kind is None:  # else what the block raised says more, and the log has the rest
                raise

    def _begin(self) -> tuple[Running, threading.Event]:
        """What is to run, and the event to set when it has ended."""
        if not self._over.is_set():
            raise ConfigurationError(f"this server runs already, on {self._where()}; stop it first")
        if self._observers and self._running is not None:
            raise ConfigurationError("its observers were closed when this server ended: make another one")
        self._failure, self._thread, self._over = None, None, threading.Event()
        self._running = Running(
            self._sources, self.config, self._frontends, listeners=self.listeners, observers=self._observers
        )
        return self._running, self._over

    def _start(self, thread: threading.Thread) -> None:
        self._thread = thread
        try:
            thread.start()
        except RuntimeError:  # this process can have no more threads
            self._thread = None
            self._over.set()
            raise

    def _has_ended(self, timeout: float | None) -> bool:
        if not self._over.wait(timeout):
            return False
        if self._thread is not None:
            self._thread.join()  # it has nothing left to do
        return True

    def _tell(self, host: str, port: int) -> None:
        _, server = reachable(host, port, secure=self.config.ssl_certfile is not None)
        log.info("listening on %s; try offboard probe %s", server, server)

    def _where(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure


def _wait(event: threading.Event, timeout: float) -> bool:
    """Whether it is set in time. In parts: Ctrl-C just before a wait begins is heard only when that is over."""
    end = time.monotonic() + timeout
    while not event.is_set() and (left := end - time.monotonic()) > 0:
        event.wait(min(left, _PART))
    return event.is_set()
