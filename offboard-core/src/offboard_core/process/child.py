"""A vendor's server in a process of its own, in an environment of its own.

openpi, GR00T and LeRobot cannot be installed together, so a loader may run its vendor's own server as a child and
speak its wire. :class:`Child` starts it, keeps its log, notices its death, and stops it with everything it started.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

from offboard_client.errors import LoadFailed, counted, printable

from ..types import ReportProgress
from .environment import inherited

log = logging.getLogger(__name__)

_SHIM = Path(__file__).with_name("_shim.py")
#: Log lines kept, and how much of a line.
_LINES, _LINE_BYTES = 200, 2000
#: Lines of one child that are logged in a second, and seconds that the reading of more of them waits: a flood would
#: take the interpreter from the robots' threads.
_LOGGED, _PAUSE = 500, 0.005
#: Seconds for the shim's own work, beyond the grace that the child is given.
_SHIM_SECONDS = 5.0
#: Seconds between two looks at whether the log of a child that says nothing is still wanted.
_LOOK = 0.5
_ENDS_LINE = re.compile(rb"[\r\n]+")
#: Colours, which say nothing here; whatever else is no text is shown as text.
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Child:
    """A running command. ``name`` is for people; ``grace``: seconds between SIGTERM and SIGKILL.

    It gets the few variables of this environment that any program needs, those that ``inherit`` names (``HF_HOME``,
    ``JAX_*``), and ``env``. A secret is inherited only by its whole name: the server's token is none of a vendor's
    business. ``pass_fds``: descriptors that it gets under the same numbers. ``redact``: makes of a line that it wrote
    the one that is kept and logged. ``level``: at which its lines are logged. Starts at once; raises LoadFailed if it
    cannot. Thread-safe.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        name: str,
        cwd: Path | None = None,
        inherit: Iterable[str] = (),
        env: Mapping[str, str] | None = None,
        grace: float = 3.0,
        pass_fds: Sequence[int] = (),
        redact: Callable[[str], str] = str,
        level: int = logging.INFO,
    ) -> None:
        self.name, self._redact, self._level = name, redact, level
        self.command = list(command)
        self._grace = grace
        self._lines: deque[str] = deque(maxlen=_LINES)
        #: Lines that were logged since then, and that were not.
        self._second, self._logged, self._unlogged = time.monotonic(), 0, 0
        self._control, theirs = socket.socketpair()
        unshared(self._control)
        fds = ",".join(map(str, pass_fds)) or "-"
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_SHIM), str(theirs.fileno()), str(grace), fds, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**inherited(inherit), **(env or {}), "PYTHONUNBUFFERED": "1"},
                pass_fds=[theirs.fileno(), *pass_fds],
                start_new_session=True,
            )
        except BaseException as error:  # Ctrl-C, too: the shim ends what runs by then
            self._control.close()
            if isinstance(error, OSError):
                where = "" if cwd is None else f" in {cwd}"
                raise LoadFailed(f"{name} cannot be started{where}: {error.strerror or error}") from None
            raise
        finally:
            theirs.close()
        self._status: int | None = None
        self._telling = threading.Lock()
        self._stopped = False
        self._reader = threading.Thread(target=self._read, name=f"{name}-log", daemon=True)
        try:
            self._reader.start()
        except BaseException as error:  # Ctrl-C may come when it reads already
            self.stop()
            if isinstance(error, RuntimeError):
                raise LoadFailed(f"{name} cannot be started: {error}") from None
            raise

    @property
    def pid(self) -> int:
        """Of the process that leads its group and stops it; the command's is another."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def status(self) -> int | None:
        """The command's exit status, negative for a signal; None while it runs or if nobody could tell."""
        with self._telling:  # it is told once, and several threads ask
            if self._status is None and not self.running:
                with contextlib.suppress(OSError, ValueError):
                    self._control.setblocking(False)
                    self._status = int(self._control.recv(16))
            return self._status

    def tail(self, lines: int = 20) -> str:
        """The last lines it wrote."""
        return "\n".join(list(self._lines)[-lines:])

    @property
    def last_line(self) -> str:
        """The last line it wrote."""
        return self._lines[-1] if self._lines else ""

    def how(self) -> str:
        """How it ended, in a few words: ``was killed by SIGKILL``."""
        status = self.status()
        if status is None:
            return "ended"
        return f"exited with code {status}" if status >= 0 else f"was killed by {_signal(-status)}"

    @property
    def logged(self) -> bool:
        """Whether its log is in this program's, line by line."""
        return log.isEnabledFor(self._level)

    def death(self) -> str:
        """How it ended, with the end of its log, for an error."""
        self._reader.join(1.0)  # what it wrote last may still be in the pipe
        return f"{self.name} {self.how()}. The end of its log:\n{self.tail() or '(it wrote nothing)'}"

    def wait_ready(
        self, ready: Callable[[], bool], timeout: float, report: ReportProgress, every: float = 0.25
    ) -> None:
        """Wait until ``ready()`` says so, telling ``report`` the child's last line.

        ``ready`` answers within moments and returns False while nobody answers it. Raises LoadFailed, with the end of
        the child's log, if the child ends or ``timeout`` seconds pass.
        """
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.running:
                raise LoadFailed(self.death())
            if time.monotonic() > deadline:
                raise LoadFailed(
                    f"{self.name} did not become ready within {timeout:g} s. The end of its log:\n"
                    f"{self.tail() or '(it wrote nothing)'}"
                )
            report(self.last_line or f"{self.name} is starting")
            self.wait(every)

    def wait(self, seconds: float) -> bool:
        """Wait for its end at most so long; whether it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return not self.running

    def stop(self) -> None:
        """Terminate, wait, kill: the child and all it started. Returns within the grace and a few seconds."""
        # Closing our end is what tells the shim; it is also what happens if this process dies instead of calling stop.
        self.status()
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
        if self.running:  # what somebody stopped (SIGSTOP) hears neither the shim nor SIGTERM
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGCONT)
        try:
            self._process.wait(self._grace + _SHIM_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if not self._stopped and self.status() is None:  # the shim was killed before it could end the others
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._stopped = True
        if self._reader.is_alive():
            self._reader.join(2 * _LOOK)
        elif self._process.stdout is not None:  # it has closed this, unless it never began
            self._process.stdout.close()
        self._control.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        rest = b""
        readable = select.poll()
        readable.register(stream)
        with stream:
            while True:
                if not readable.poll(_LOOK * 1e3):
                    if self._stopped:  # who has it still has left the group, and lives on
                        break
                    continue
                if not (data := os.read(stream.fileno(), 65536)):
                    break
                *lines, rest = _ENDS_LINE.split(rest + data)
                self._keep_all(lines)
                if len(rest) > _LINE_BYTES:
                    self._keep(rest)
                    rest = b""
        self._keep(rest)
        self._tell_unlogged()

    def _keep_all(self, lines: list[bytes]) -> None:
        now = time.monotonic()
        if now - self._second >= 1:
            self._tell_unlogged()
            self._second, self._logged = now, 0
        room = max(0, _LOGGED - self._logged)
        for line in lines[:room]:
            self._keep(line)
        self._logged += len(lines)
        if more := lines[room:]:
            self._unlogged += len(more)
            for line in more[-_LINES:]:
                self._keep(line, logged=False)
            time.sleep(_PAUSE)

    def _tell_unlogged(self) -> None:
        if self._unlogged:
            more = counted(self._unlogged, "line")
            log.log(self._level, "%s: … and %s, which came too quickly to be logged", self.name, more)
            self._unlogged = 0

    def _keep(self, line: bytes, *, logged: bool = True) -> None:
        text = printable(_COLOURS.sub("", line[:_LINE_BYTES].decode("utf-8", "replace")).strip())
        if text := self._redact(text):
            self._lines.append(text)
            if logged:
                log.log(self._level, "%s: %s", self.name, text)


_unshared: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def unshared(sock: socket.socket) -> socket.socket:
    """``sock``, which no process keeps that is forked from this one.

    A program that is started gets no socket it is not given. ``os.fork``, and with it multiprocessing's "fork", hands
    all of them on: the port stays taken, and a line open by which another process notices our end, for as long as a
    policy's worker lives.
    """
    _watch_forks()
    _unshared.add(sock)
    return sock


@cache
def _watch_forks() -> None:
    os.register_at_fork(after_in_child=_close_unshared)


def _close_unshared() -> None:
    for sock in list(_unshared):
        if sock.fileno() >= 0:
            os.close(sock.detach())  # close() would wait for an event loop to let go of it


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


__all__ = ["Child", "unshared"]
