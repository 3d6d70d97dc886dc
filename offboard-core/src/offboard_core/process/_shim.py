"""Runs beside a vendor's process and makes sure that it never outlives the server. Standard library only.

    python _shim.py FD SECONDS FDS COMMAND [ARGUMENT ...]

FD is one end of a socket pair whose other end only the server has. When that end closes, because the server says so
or because it is gone however it went, everything in this process group is told to terminate and, SECONDS later, killed;
on Linux whatever else the command has started, too, in whatever group or session it is: who loses its parent becomes
this program's child. A parent-death signal alone would not do: it does not reach the grandchildren behind ``uv run``.
Before leaving, the command's exit status is written to FD. FDS are descriptors for the command alone, such as ``5,6``
or ``-`` for none: who reads at their other ends is to be told of its end, not of this program's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

#: Linux's numbers of prctl.
_PDEATHSIG, _CHILD_SUBREAPER = 1, 36
#: Seconds for those who were killed to be gone.
_GONE_SECONDS = 2.0


def main() -> None:
    """Start the command, wait for its end or the server's, leave nobody behind."""
    control = socket.socket(fileno=int(sys.argv[1]))
    grace, command = float(sys.argv[2]), sys.argv[4:]
    passed = [int(fd) for fd in sys.argv[3].split(",")] if sys.argv[3] != "-" else []
    # Signals to the group are for the others: whoever cleans up must be the last to leave. A handler, unlike SIG_IGN,
    # is not inherited by the command.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, _survive)
    adopt()
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    try:
        child = subprocess.Popen(command, pass_fds=passed, preexec_fn=_die_with_the_shim)  # noqa: PLW1509
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        _leave(control, 127)
        return
    for fd in passed:
        os.close(fd)
    while child.poll() is None:
        _reap(child.pid)
        readable, _, _ = select.select([control, woken], [], [])
        if control in readable:
            _terminate(child, grace)
            break
        with contextlib.suppress(BlockingIOError):
            woken.recv(64)
    _leave(control, child.returncode)


def _prctl(*arguments: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(*arguments, 0, 0, 0)


def _die_with_the_shim() -> None:
    """For the command alone, where somebody kills this program and the server at once."""
    _prctl(_PDEATHSIG, signal.SIGKILL)


def _reap(command: int) -> None:
    """Whoever has become a child of this program and has ended; the command is waited for elsewhere."""
    with contextlib.suppress(ChildProcessError):
        while True:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid == command:
                return
            os.waitpid(ended.si_pid, 0)


def adopt() -> None:
    """From now on who is started from here, and loses its parent, becomes this program's child."""
    _prctl(_CHILD_SUBREAPER, 1)


def kill_all(is_spared: Callable[[int], bool] = lambda _: False) -> None:
    """Each child, and those that become children thereby."""
    end = time.monotonic() + _GONE_SECONDS
    while (left := [child for child in children() if not is_spared(child)]) and time.monotonic() < end:
        for process in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.005)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def children() -> list[int]:
    """Of this program, where /proc tells."""
    found = list[int]()
    for process in filter(str.isdigit, os.listdir("/proc") if sys.platform == "linux" else ()):
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{process}/stat", "rb") as file:
            if int(file.read().rpartition(b")")[2].split()[1]) == os.getpid():
                found.append(int(process))
    return found


def _survive(number: int, frame: object) -> None:
    pass


def _terminate(child: subprocess.Popen[bytes], grace: float) -> None:
    os.killpg(0, signal.SIGTERM)
    end = time.monotonic() + grace
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(max(0.0, end - time.monotonic()))


def _leave(control: socket.socket, status: int | None) -> None:
    with contextlib.suppress(OSError):
        control.sendall(str(status).encode())
    kill_all()
    # Whoever is still in the group, this process included.
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
