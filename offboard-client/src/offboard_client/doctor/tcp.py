"""What the kernel knows of a connection, as far as it says so: Linux's ``TCP_INFO``."""

from __future__ import annotations

import socket
import struct
import sys
from dataclasses import dataclass

_IP_MTU, _IPV6_MTU = 14, 24
#: ``struct tcp_info``: eight bytes, then numbers of 32 bits. Of these, by their place, 2 is the largest segment that is
#: sent, 23 how many were sent again, and, behind four numbers of 64 bits, 32 how many were sent in all (Linux 4.2).
_SEGMENT, _AGAIN, _SENT = 2, 23, 32
_LENGTH = 8 + 4 * (_SENT + 1)


@dataclass(frozen=True)
class Connection:
    """``local``, ``peer``: the addresses. Of what the kernel does not tell: None.

    ``mtu``: the largest packet on the way, in bytes, as far as it is known. ``again``, ``sent``: segments, since the
    connection was opened. ``congestion``: the algorithm. ``nodelay``: whether what is small goes out at once.
    """

    local: str
    peer: str
    mtu: int | None = None
    segment: int | None = None
    sent: int | None = None
    again: int | None = None
    congestion: str | None = None
    nodelay: bool | None = None


def look_at_connection(raw: socket.socket) -> Connection:
    """Of a TCP socket that is connected."""
    local, peer = (str(name[0]).partition("%")[0] for name in (raw.getsockname(), raw.getpeername()))
    nodelay = bool(raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    if not sys.platform.startswith("linux"):
        return Connection(local, peer, nodelay=nodelay)
    level, option = (socket.IPPROTO_IPV6, _IPV6_MTU) if raw.family == socket.AF_INET6 else (socket.IPPROTO_IP, _IP_MTU)
    segment, sent, again = segments(_ask(raw, "TCP_INFO", 256))
    congestion = _ask(raw, "TCP_CONGESTION", 16)
    return Connection(
        local,
        peer,
        mtu=_number(raw, level, option),
        segment=segment,
        sent=sent,
        again=again,
        congestion=congestion.rstrip(b"\0").decode("ascii", "replace") or None,
        nodelay=nodelay,
    )


def segments(info: bytes) -> tuple[int | None, int | None, int | None]:
    """Of ``struct tcp_info``: the largest segment's bytes, how many were sent, and how many of them again."""
    if len(info) < _LENGTH:
        return None, None, None
    numbers = struct.unpack_from(f"={_SENT + 1}I", info, 8)
    return numbers[_SEGMENT], numbers[_SENT], numbers[_AGAIN]


def _ask(raw: socket.socket, name: str, size: int) -> bytes:
    try:
        return raw.getsockopt(socket.IPPROTO_TCP, getattr(socket, name), size)
    except (OSError, AttributeError):
        return b""


def _number(raw: socket.socket, level: int, option: int) -> int | None:
    try:
        return raw.getsockopt(level, option)
    except OSError:
        return None
