"""The port of this machine that a child of ours listens on."""

from __future__ import annotations

import socket
import sys

from offboard_client.errors import LoadFailed

from .child import unshared

#: How many free ports are tried before none is found that no other server of ours waits on.
_TRIES = 20


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on at this moment."""
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


__all__ = ["free_port", "take_port"]
