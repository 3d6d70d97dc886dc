"""The port that a child of ours listens on."""

from __future__ import annotations

import socket
import sys

from offboard_client.errors import LoadFailed
from offboard_core.process import free_port, unshared

#: How many free ports are tried before none is found that no other server of ours waits on.
_TRIES = 20


def take_port(wanted: int) -> tuple[int, socket.socket]:
    """The port for a child, a free one for 0, and what keeps other servers of ours off it until it is closed.

    The child listens only when its model is loaded, minutes later. If two servers waited on one port, the second would
    take the first one's answers for its own model's. Raises LoadFailed.
    """
    for _ in range(_TRIES):
        port, guard = wanted or free_port(), unshared(socket.socket(socket.AF_UNIX))
        try:
            if sys.platform == "linux":
                guard.bind(f"\0offboard-openpi-{port}")  # ends with this process, and leaves no file
            check_free(port)
            return port, guard
        except OSError:
            guard.close()
            if wanted:
                break
        except LoadFailed:
            guard.close()
            raise
    raise LoadFailed(
        f"port {wanted or '(any)'} is another offboard server's, for its own openpi; stop that one, or leave "
        "--openpi-ws-port away for a free port"
    )


def check_free(port: int) -> None:
    """Raises LoadFailed if another process listens on this port: its answers must not be taken for our model's."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
            probe.listen()
        except OSError as error:
            raise LoadFailed(
                f"port {port} cannot be used for openpi ({error.strerror}): another process listens there, "
                "perhaps an openpi that is left over. Stop it, serve it with --attach, or leave --openpi-ws-port "
                "away for a free port"
            ) from None
