"""Runs beside a vendor's process and makes sure that it never outlives the server. Standard library only.

    python _shim.py FD SECONDS FDS COMMAND [ARGUMENT ...]

FD is one end of a socket pair whose other end only the server has. When that end closes, because the server says so
or because it is gone however it went, everything in this process group is told to terminate and, SECONDS later, killed.
A parent-death signal would not do: it does not reach the grandchildren behind ``uv run``. Before leaving, the command's
exit status is written to FD. FDS are descriptors for the command alone, such as ``5,6`` or ``-`` for none: who reads at
their other ends is to be told of its end, not of this program's.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time


def main() -> None:
    """Start the command, wait for its end or the server's, leave nobody behind."""
    control = socket.socket(fileno=int(sys.argv[1]))
    grace, command = float(sys.argv[2]), sys.argv[4:]
    passed = [int(fd) for fd in sys.argv[3].split(",")] if sys.argv[3] != "-" else []
    # Signals to the group are for the others: whoever cleans up must be the last to leave. A handler, unlike SIG_IGN,
    # is not inherited by the command.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, _survive)
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    try:
        child = subprocess.Popen(command, pass_fds=passed)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        _leave(control, 127)
        return
    for fd in passed:
        os.close(fd)
    while child.poll() is None:
        readable, _, _ = select.select([control, woken], [], [])
        if control in readable:
            _terminate(child, grace)
            break
        with contextlib.suppress(BlockingIOError):
            woken.recv(64)
    _leave(control, child.returncode)


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
    # Whoever is still in the group, this process included.
    os.killpg(0, signal.SIGKILL)


main()
