"""One openpi server and the socket to it: started, watched, restarted, stopped.

A supervisor thread owns the child. The model's thread asks for inferences and never waits for a start: while openpi is
being restarted each request is answered at once by an error that says so, so that the robot holds and other robots'
errors are not confused with timeouts.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

from offboard_client.errors import InferTimeout, LoadFailed, ModelLost, OffboardError, PolicyFailed, told
from offboard_core.process import Child
from offboard_core.types import Health, ReportProgress

from .checks import Checks
from .connection import Connection, Lost, Unreachable, ask
from .ports import take_port

log = logging.getLogger(__name__)

#: Called with a port; starts openpi's server on it.
Start = Callable[[int], Child]
#: From how the child ended to an error that says so, with the likely cause and the next step.
Explain = Callable[[str], LoadFailed]
#: Seconds before the first restart; doubled for each one after.
BACK_OFF = 0.5
_RESTARTED = "being restarted"


class Backend:
    """A running openpi server. ``metadata`` is what its policy says of itself.

    :meth:`infer` is for one thread at a time; :meth:`close` and :meth:`health` may be called from any.
    """

    def __init__(
        self,
        start: Start,
        explain: Explain,
        checks: Checks,
        *,
        port: int,
        startup_timeout: float,
        timeout: float,
        restarts: int,
    ) -> None:
        """``port``: 0 takes a free one for each start. Nothing runs before :meth:`open`."""
        self.metadata: Mapping[str, Any] = {}
        self._start, self._explain, self._checks = start, explain, checks
        self._port, self._startup_timeout, self._timeout, self._restarts = port, startup_timeout, timeout, restarts
        self._lock = threading.Condition()
        self._child: Child | None = None
        self._connection: Connection | None = None
        self._guard: socket.socket | None = None
        self._url = ""
        self._failures = 0
        self._up = False
        self._doing = _RESTARTED
        self._lost: str | None = None
        self._closed = False
        self._supervisor: threading.Thread | None = None

    def open(self, report: ReportProgress) -> dict[str, Any] | None:
        """Start openpi and wait until it has answered; its first reply, None for an unknown config.

        Raises LoadFailed; then nothing runs.
        """
        try:
            reply = self._launch(report)
        except OffboardError as error:
            raise self._explain(error.text) from None
        self._supervisor = threading.Thread(target=self._supervise, name="offboard-openpi", daemon=True)
        self._supervisor.start()
        return reply

    def infer(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """openpi's reply to one observation.

        Raises PolicyFailed for openpi's own error, for a child that died over it, and while it is restarted;
        InferTimeout; ModelLost once it cannot be restarted.
        """
        try:
            reply = ask(self._usable, self._drop, inputs, self._timeout)
        except PolicyFailed:
            self._drop()  # openpi closes its socket after each error
            raise
        except InferTimeout as error:
            self._drop()
            self._kill()
            raise InferTimeout(f"{error.text}; it is being restarted (--openpi-timeout bounds one inference)") from None
        except Lost as error:
            self._drop()
            raise PolicyFailed(
                f"the connection to openpi broke in mid-inference ({error}); {self._plight()}; try again later"
            ) from None
        self._failures = 0
        return reply

    def health(self) -> Health:
        """As :meth:`Policy.health`; not under the lock, for it is held while a child is stopped."""
        lost, child = self._lost, self._child
        if lost is not None:
            return Health("failed", lost)
        if not self._up or child is None or not child.running:
            return Health("recovering", self._plight())
        return Health()

    def close(self) -> None:
        """Stop openpi and everything it started. Idempotent."""
        with self._lock:
            self._closed = True
            child = self._child
            self._lock.notify_all()
        self._drop()
        if child is not None:
            child.stop()
        if self._supervisor is not None:
            self._supervisor.join(10.0)
        self._release()

    # -- the model's thread ---------------------------------------------------------------------------------
    def _usable(self) -> Connection:
        with self._lock:
            if self._lost is not None:
                raise ModelLost(self._lost)
            if not self._up or self._child is None or not self._child.running:
                raise PolicyFailed(f"{self._plight()}; try again later")
            connection, url = self._connection, self._url
        if connection is not None and connection.usable():
            return connection
        self._drop()
        try:
            connection = Connection(url)
        except Unreachable as error:
            raise PolicyFailed(f"openpi takes no connection, try again later: {error}") from None
        with self._lock:
            self._connection = connection
        return connection

    def _plight(self) -> str:
        child = self._child
        said = f"; it says: {child.last_line}" if child is not None and child.last_line else ""
        return f"openpi is {self._doing}{said}"

    def _drop(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _kill(self) -> None:
        with self._lock:
            child, self._up = self._child, False
        if child is not None:
            child.stop()

    # -- whoever starts it --------------------------------------------------------------------------------------
    def _launch(self, report: ReportProgress) -> dict[str, Any] | None:
        self._release()
        port, self._guard = take_port(self._port)
        try:
            child = self._start(port)
        except BaseException:
            self._release()
            raise
        probe = _Probe(f"ws://127.0.0.1:{port}", self._checks)
        with self._lock:
            if self._closed:
                child.stop()
                self._release()
                raise LoadFailed("the server is going away")
            self._child = child
        try:
            child.wait_ready(probe.ready, self._startup_timeout, report)
            if not child.running:
                raise LoadFailed(child.death())
        except BaseException:
            probe.drop()
            child.stop()
            self._release()
            raise
        assert probe.connection is not None
        with self._lock:
            self._url, self._connection, self._up = probe.url, probe.connection, True
            self.metadata = probe.connection.metadata
        return probe.reply

    def _release(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.close()

    # -- the supervisor -------------------------------------------------------------------------------------
    def _supervise(self) -> None:
        while (child := self._child) is not None and not self._closed:
            if child.wait(0.5) and not self._closed:
                log.error("%s", child.death())
                self._up = False
                self._drop()
                child.stop()
                self._restart(child.death())

    def _restart(self, death: str) -> None:
        while not self._closed:
            self._failures += 1
            if self._failures > self._restarts:
                with self._lock:
                    self._child = None
                    self._lost = self._explain(f"openpi died {self._failures} times in a row: {death}").text
                log.error("%s", self._lost)
                return
            pause = BACK_OFF * 2 ** (self._failures - 1)
            self._doing = f"being restarted (attempt {self._failures} of {self._restarts})"
            log.warning("openpi is %s in %g s", self._doing, pause)
            with self._lock:
                if self._lock.wait_for(lambda: self._closed, pause):
                    return
            try:
                self._launch(lambda _: None)
                self._doing = _RESTARTED
                log.warning("openpi runs again")
                return
            except OffboardError as error:
                death = error.text
            except Exception as error:
                log.exception("openpi cannot be restarted")
                death = told(error)


class _Probe:
    """Asks a starting server: does it send its metadata, and has it answered one observation?"""

    def __init__(self, url: str, checks: Checks) -> None:
        self.url = url
        self.connection: Connection | None = None
        self.reply: dict[str, Any] | None = None
        self._checks = checks

    def ready(self) -> bool:
        """Returns within moments. Raises LoadFailed if it answers what it should not."""
        synthetic = self._checks.synthetic()
        try:
            if self.connection is None:
                self.connection = Connection(self.url)
                if synthetic is None:
                    return True
                self.connection.send(synthetic)
            self.reply = self.connection.receive(0.1)
            if self.reply is None:
                return False
            self._checks.actions(self.reply)
        except Unreachable:
            return False
        except Lost:
            self.drop()  # it died, which whoever waits will notice; or it restarted, and is asked again
            return False
        except OffboardError as error:
            raise LoadFailed(f"openpi failed its first inference: {error.text}") from None
        return True

    def drop(self) -> None:
        """Close the socket."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None
