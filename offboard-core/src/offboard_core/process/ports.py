"""The port of this machine that a child of ours listens on."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sys
from pathlib import Path

from offboard_client.errors import LoadFailed

from .child import unshared

#: How many free ports are tried before none is found that no other server of ours waits on.
_TRIES = 20
#: Where ports are looked for: above those of well-known servers, below what Linux and macOS hand out by themselves.
_LOWEST, _HIGHEST = 10_000, 32_000
#: The state of a listening socket in Linux' tables.
_LISTENS = "0A"


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on at this moment.

    The system gives it to nobody by itself, so it is likely to be free when the program that is told it listens.
    """
    for _ in range(_TRIES):
        port = _LOWEST + secrets.randbelow(_HIGHEST - _LOWEST)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def take_port(wanted: int, name: str) -> tuple[int, socket.socket]:
    """The port for a child that errors call ``name``, a free one for 0, and what keeps other servers of ours off it.

    That is closed when the child has ended. The child listens only when its model is loaded, minutes later. If two
    servers waited on one port, the second would take the first one's answers for its own model's. Raises LoadFailed.
    """
    for _ in range(_TRIES):
        port, guard = wanted or free_port(), unshared(socket.socket(socket.AF_UNIX))
        try:
            if sys.platform == "linux":
                guard.bind(f"\0offboard-child-{port}")  # ends with this process, and leaves no file
            _check_free(port, name)
            return port, guard
        except OSError:
            guard.close()
            if wanted:
                break
        except LoadFailed:
            guard.close()
            raise
    raise LoadFailed(f"port {wanted or '(any)'} is another offboard server's, for a child of its own; stop that server")


def check_listener(port: int, leader: int, name: str) -> None:
    """Raises LoadFailed if a process listens on the port that is older than ``leader``, whose child was to do so.

    Between :func:`take_port` and the child's listening lie minutes, in which any program may take the port, a server of
    the same vendor among them: its answers are another model's. Whatever the child starts is younger, in whatever group
    or container they run. Only Linux tells; elsewhere nothing is raised.
    """
    if not (sockets := _listening(port)) or (born := _birth(leader)) is None:
        return
    for process in map(int, filter(str.isdigit, os.listdir("/proc"))):
        age = _birth(process)
        if age is not None and age < born and sockets & _sockets(process):
            raise LoadFailed(
                f"port {port} was taken by process {process} while {name} was starting, so what answers there is not "
                f"this {name}; stop that process, or choose another port"
            )


def listener(port: int, leader: int) -> int | None:
    """The process that listens on the port, of those that ``leader`` leads; None where nothing tells."""
    if sockets := _listening(port):
        for process in map(int, filter(str.isdigit, os.listdir("/proc"))):
            with contextlib.suppress(OSError):
                if os.getsid(process) == leader and sockets & _sockets(process):
                    return process
    return None


def _listening(port: int) -> set[str]:
    """The sockets that listen on a port, as Linux numbers them."""
    found: set[str] = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(f"socket:[{fields[9]}]")
    return found


def _sockets(process: int) -> set[str]:
    """What a process has open, by Linux' names; nothing of another user's."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{process}/fd"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/{process}/fd/{name}"))
    return found


def _birth(process: int) -> int | None:
    """When a process began, in ticks of the system's clock; None if it is gone, or nothing says so."""
    try:
        return int(Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def _check_free(port: int, name: str) -> None:
    """Raises LoadFailed if another process listens on this port: its answers must not be taken for our model's."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
            probe.listen()
        except OSError as error:
            raise LoadFailed(
                f"port {port} cannot be used for {name} ({error.strerror}): another process listens there, "
                f"perhaps a {name} that is left over; stop it"
            ) from None


__all__ = ["check_listener", "free_port", "listener", "take_port"]
