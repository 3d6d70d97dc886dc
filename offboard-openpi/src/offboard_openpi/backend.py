"""One openpi server of our own and the socket to it.

A supervisor starts it, watches it and starts it again. The model's thread asks for inferences and never waits for a
start: while openpi is being restarted each request is answered at once by an error that says so, so that the robot
holds and other robots' errors are not confused with timeouts.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

from offboard_client.errors import InferTimeout, LoadFailed, OffboardError, PolicyFailed
from offboard_core.process import Child, Supervisor
from offboard_core.types import Health, ReportProgress

from .checks import Checks
from .connection import Connection, Lost, Unreachable, ask
from .ports import take_port

#: Called with a port; starts openpi's server on it.
Start = Callable[[int], Child]
#: From how the child ended to an error that says so, with the likely cause and the next step.
Explain = Callable[[str], LoadFailed]


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
        """``port``: 0 takes a free one for each start. Nothing runs before :meth:`open`.

        ``startup_timeout``: seconds from a start to its first answer; ``timeout``: seconds for one inference.
        ``restarts``: as for :class:`Supervisor`; an inference that is answered begins a new row.
        """
        self.metadata: Mapping[str, Any] = {}
        self._start, self._checks, self._port, self._timeout = start, checks, port, timeout
        self._supervisor = Supervisor(
            self._begin,
            self._ready,
            explain,
            self._ended,
            name="openpi",
            startup_timeout=startup_timeout,
            restarts=restarts,
        )
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._url = ""
        self._reply: dict[str, Any] | None = None
        self._probe: _Probe | None = None
        self._guard: socket.socket | None = None

    def open(self, report: ReportProgress) -> dict[str, Any] | None:
        """Start openpi and wait until it has answered; its first reply, None for an unknown config.

        Raises LoadFailed; then nothing runs.
        """
        try:
            self._supervisor.open(report)
        except BaseException:
            self.close()
            raise
        return self._reply

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
            self._supervisor.restart()
            raise InferTimeout(f"{error.text}; it is being restarted (--openpi-timeout bounds one inference)") from None
        except Lost as error:
            self._drop()
            raise PolicyFailed(
                f"the connection to openpi broke in mid-inference ({error}); {self._supervisor.recovery()}; "
                "try again later"
            ) from None
        self._supervisor.answered()
        return reply

    def health(self) -> Health:
        """As :meth:`Policy.health`."""
        return self._supervisor.health()

    def close(self) -> None:
        """Stop openpi and everything it started. Idempotent."""
        self._drop()  # which ends what the model's thread waits for
        self._supervisor.close()
        self._drop()  # what a start that was under way has opened
        self._release()

    # -- the model's thread ---------------------------------------------------------------------------------
    def _usable(self) -> Connection:
        self._supervisor.check_ready()
        with self._lock:
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

    def _drop(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # -- what the supervisor calls --------------------------------------------------------------------------
    def _begin(self) -> Child:
        self._release()
        port, self._guard = take_port(self._port)
        self._probe = _Probe(f"ws://127.0.0.1:{port}", self._checks)
        return self._start(port)

    def _ready(self) -> bool:
        probe = self._probe
        if probe is None or not probe.ready():
            return False
        assert probe.connection is not None
        with self._lock:
            self._url, self._connection = probe.url, probe.connection
        self.metadata, self._reply, self._probe = probe.connection.metadata, probe.reply, None
        return True

    def _ended(self) -> None:
        probe, self._probe = self._probe, None
        if probe is not None:
            probe.drop()
        self._drop()

    def _release(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.close()


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
