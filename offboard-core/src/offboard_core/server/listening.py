"""Where a server listens: every way to write an address works, or the text names its fault."""

from __future__ import annotations

import errno
import socket

from offboard_client.errors import ConfigurationError
from offboard_client.protocol import bracketed

from ..process import unshared

_BACKUP = "choose another --port (0 takes a free one) or --host"
#: What to do about it.
_HINTS = {
    errno.EADDRINUSE: f"Another server may run there already; {_BACKUP}",
    errno.EADDRNOTAVAIL: "This machine has no such address: --host 0.0.0.0 listens on all that it has, and 127.0.0.1 "
    "is for programs on this machine",
    errno.EACCES: "Ports below 1024 are the administrator's; choose another --port",
    errno.EINVAL: "An address that begins with fe80 needs the network that it belongs to: fe80::1%eth0",
    errno.EAFNOSUPPORT: "This machine does not speak IPv6",
}


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to ``host`` (a name, or a number without brackets). Raises ConfigurationError."""
    where = f"{bracketed(host)}:{port}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(
            f"cannot listen on {where}: {getattr(error, 'strerror', None) or error}. "
            "--host takes a name or number of this machine, 0.0.0.0 for all of its addresses"
        ) from None
    # A name that means both kinds is heard where most clients look first.
    family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    listener = None
    try:
        listener = unshared(socket.socket(family, socket.SOCK_STREAM))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")  # "::" is everything, as 0.0.0.0
        listener.bind(address)
    except OSError as error:
        if listener is not None:
            listener.close()
        hint = _HINTS.get(error.errno or 0, f"{_BACKUP[0].upper()}{_BACKUP[1:]}")
        raise ConfigurationError(f"cannot listen on {where}: {error.strerror or error}. {hint}") from None
    return listener


def reachable(host: str, port: int, *, secure: bool) -> tuple[str, str]:
    """The URL to connect to for whoever is told that a server listens on ``host``, and its form in command lines."""
    server = f"{_name(host, secure=secure)}:{port}"
    url = f"{'wss' if secure else 'ws'}://{server}"
    return url, url if secure else server


def _name(host: str, *, secure: bool) -> str:
    if host not in ("0.0.0.0", "::"):
        return bracketed(host)
    if secure:
        return socket.gethostname()  # a certificate is for a name
    # Names of machines are not always known to others, nor to the machine itself; its address is. Nothing is sent.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"  # without a network nobody else gets here
