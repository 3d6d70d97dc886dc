"""A vendor's own server as a child of ours, and the connection to it.

A supervisor starts it, watches it and starts it again. Whoever asks it something never waits for a start: while it is
being restarted each question is answered at once by an error that says so, so that the robot holds and other robots'
errors are not confused with timeouts.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from offboard_client.errors import InferTimeout, LoadFailed, OffboardError, PolicyFailed

from ..types import Elsewhere, Health, ReportProgress
from .child import Child
from .memory import resident_bytes
from .ports import check_listener, listener, take_port
from .supervisor import Supervisor
from .wire import Wire, asked, broken, timed_out

W = TypeVar("W", bound=Wire)
A = TypeVar("A")

#: Connections that are refused in a row, before a child that runs is taken for one that hangs.
_REFUSALS = 3


class ChildServer(Generic[W]):
    """A server that is started on a port of this machine, and restarted where it dies or hangs.

    :meth:`ask` is for one thread at a time; :meth:`health` and :meth:`close` may be called from any.
    """

    def __init__(
        self,
        start: Callable[[int], Child],
        connect: Callable[[int], W],
        probe: Callable[[W], bool],
        explain: Callable[[str], LoadFailed],
        *,
        name: str,
        startup_timeout: float,
        restarts: int,
        port: int = 0,
    ) -> None:
        """Nothing runs before :meth:`open`.

        ``start``: starts the server on a port, or raises. ``connect``: a connection to it there; an OSError while
        nobody listens. ``probe``: whether the server has done over this connection what it is there for (a first
        inference, which compiles); False while it has not yet, an OffboardError for a wrong answer. All three return
        within moments. ``name``, ``explain``, ``startup_timeout`` and ``restarts`` are as for :class:`Supervisor`;
        a question that is answered begins a new row of restarts. ``port``: 0 takes a free one for each start.
        """
        self._start, self._connect, self._probe, self._name, self._wanted = start, connect, probe, name, port
        self._supervisor = Supervisor(
            self._begin,
            self._answers,
            explain,
            self._ended,
            name=name,
            startup_timeout=startup_timeout,
            restarts=restarts,
        )
        self._lock = threading.Lock()
        #: Where the child that was started last listens, and the process that leads it.
        self._port = self._leader = 0
        #: The process that listens there, once it answers.
        self._process: int | None = None
        self._wire: W | None = None
        #: The connection of a start that is under way.
        self._first: W | None = None
        self._guard: socket.socket | None = None
        self._refusals = 0

    def open(self, report: ReportProgress) -> None:
        """Start the server and wait until ``probe`` is content; ``report`` is told its last line.

        Raises LoadFailed as ``explain`` has it; then nothing runs.
        """
        try:
            self._supervisor.open(report)
        except BaseException:
            self.close()
            raise

    def ask(self, question: Callable[[W], A]) -> A:
        """What ``question`` returns, which talks over the connection it is given, in bounded time.

        What it raises is handed on, and the connection is closed: an answer that came late would be taken for the
        next question's. Raises PolicyFailed also where the connection breaks (an OSError) and while the server is
        restarted; InferTimeout, which it may raise as a TimeoutError, after which the server is restarted; ModelLost
        once it is given up.
        """
        try:
            answer = asked(self._usable, self._drop, question)
        except InferTimeout as error:
            self._drop()
            self._supervisor.restart()
            raise InferTimeout(f"{error.text}; it is being restarted") from None
        except OSError as error:
            self._drop()
            if timed_out(error):
                self._supervisor.restart()
                raise InferTimeout(f"{self._name} did not answer in time; it is being restarted") from None
            raise PolicyFailed(
                f"the connection to {self._name} broke in mid-inference ({broken(error)}); "
                f"{self._supervisor.recovery()}; try again later"
            ) from None
        except BaseException:
            self._drop()
            raise
        self._supervisor.answered()
        return answer

    def health(self) -> Health:
        """As :meth:`Policy.health`."""
        return self._supervisor.health()

    def elsewhere(self) -> Elsewhere:
        """As :meth:`Policy.elsewhere`: the process that listens on its port, where the system tells."""
        process = self._process
        memory = None if process is None else resident_bytes(process)
        return Elsewhere(pid=process, python=_python_of(process), memory_bytes=memory)

    def close(self) -> None:
        """Stop the server and everything it started. Idempotent."""
        self._drop()  # which ends what a question waits for
        self._supervisor.close()
        self._drop()  # what a start that was under way has opened
        self._release()

    # -- whoever asks -----------------------------------------------------------------------------------------
    def _usable(self) -> W:
        self._supervisor.check_ready()
        with self._lock:
            wire, port = self._wire, self._port
        if wire is not None and wire.usable():
            return wire
        self._drop()
        try:
            wire = self._connect(port)
        except OSError as error:
            raise self._refused(error) from None
        self._refusals = 0
        with self._lock:
            self._wire = wire
        return wire

    def _refused(self, error: OSError) -> PolicyFailed:
        """Takes no connection though it runs: it may be its moment of death, or this process that lacks something."""
        self._refusals += 1
        said = f"{self._name} takes no connection ({broken(error)})"
        if self._refusals == _REFUSALS:
            self._refusals = 0
            self._supervisor.restart()
            said += f", {_REFUSALS} times in a row, and is being restarted"
        return PolicyFailed(f"{said}; try again later")

    def _drop(self) -> None:
        with self._lock:
            wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    # -- what the supervisor calls ----------------------------------------------------------------------------
    def _begin(self) -> Child:
        self._release()
        self._port, self._guard = take_port(self._wanted, self._name)
        child = self._start(self._port)
        self._leader = child.pid
        return child

    def _answers(self) -> bool:
        try:
            first = self._first or self._connect_first()
            if not self._probe(first):
                return False
        except (OSError, InferTimeout):
            self._forget_first()  # it does not listen yet, or it died, which whoever waits will notice
            return False
        except OffboardError as error:
            if self._first is None:
                raise
            raise LoadFailed(f"{self._name} failed its first inference: {error.text}") from None
        with self._lock:
            self._wire, self._first = first, None
        self._process = listener(self._port, self._leader)
        return True

    def _connect_first(self) -> W:
        wire = self._connect(self._port)
        try:
            check_listener(self._port, self._leader, self._name)
        except BaseException:
            wire.close()
            raise
        self._first = wire
        return wire

    def _ended(self) -> None:
        self._process = None
        self._forget_first()
        self._drop()

    def _forget_first(self) -> None:
        wire, self._first = self._first, None
        if wire is not None:
            wire.close()

    def _release(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.close()


def _python_of(process: int | None) -> str:
    """The version in the name of its interpreter; "" where it has none, or nothing tells."""
    try:
        name = os.path.basename(os.readlink(f"/proc/{process}/exe"))
    except OSError:
        return ""
    found = re.fullmatch(r"python(\d+\.\d+)", name)
    return found[1] if found else ""


__all__ = ["ChildServer"]
