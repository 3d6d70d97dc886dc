"""A connected socket within a deadline."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..protocol import Address, Deadline, Settings, is_numeric

#: What ``getaddrinfo`` finds: family, kind, protocol, name, and where to connect to.
Found = tuple[int, int, int, str, Any]
# A machine that lost its power or its network sends nothing that would end a connection: the kernel asks it after
# 5 s of silence and takes it for gone 9 s later. Linux's names; macOS calls the first one by the second name.
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPALIVE": 5, "TCP_KEEPINTVL": 3, "TCP_KEEPCNT": 3}


@dataclass(frozen=True)
class Tried:
    """One address of a name. ``seconds``: until it took the connection, or ``failed``, which is empty if it did."""

    address: str
    seconds: float
    failed: str = ""


@dataclass(frozen=True)
class Steps:
    """What it took to connect, in seconds. ``tls``: the version of TLS, and None for its time without."""

    resolve_s: float
    tried: tuple[Tried, ...]
    tls_s: float | None = None
    tls: str = ""


def connect(settings: Settings, deadline: Deadline) -> socket.socket:
    """The first of the host's addresses that answers, with TLS where that is asked for. Raises OSError."""
    address = settings.address
    raw = reach(resolve(address, deadline), deadline)
    try:
        tune(raw)
        raw.settimeout(deadline.left())
        return settings.tls.wrap_socket(raw, server_hostname=address.name) if settings.tls else raw
    except BaseException:
        raw.close()
        raise


def reach(
    found: list[Found], deadline: Deadline, tried: Callable[[Any, OSError | None], object] | None = None
) -> socket.socket:
    """The first of the addresses that takes the connection. Raises OSError.

    ``tried``: told of each one where it is, and what came of it; None if it took the connection.
    """
    failed = OSError("the name has no address")
    for i, (family, kind, protocol, _, where) in enumerate(found):
        raw = socket.socket(family, kind, protocol)
        try:
            # No address may use up the time of those after it.
            raw.settimeout(deadline.left() / (len(found) - i))
            raw.connect(where)
            if tried is not None:
                tried(where, None)
            return raw
        except OSError as error:
            raw.close()
            failed = error
            if tried is not None:
                tried(where, error)
        except BaseException:
            raw.close()
            raise
    raise failed


def resolve(address: Address, deadline: Deadline) -> list[Found]:
    """Where a host's addresses are, in the resolver's order. Raises OSError.

    A resolver waits for name servers as long as it likes, and cannot be told to stop: it gets a thread.
    """
    results: queue.SimpleQueue[list[Found] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            results.put(list(socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as error:
            results.put(error if isinstance(error, OSError) else OSError(f"no name of a machine ({error})"))

    if is_numeric(address.host):
        ask()
    else:
        threading.Thread(target=ask, name="offboard-resolver", daemon=True).start()
    try:
        found = results.get(timeout=deadline.left())
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(found, OSError):
        raise found
    return found


def tune(raw: socket.socket) -> None:
    """Small messages go out at once, and a peer that vanished is noticed."""
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
