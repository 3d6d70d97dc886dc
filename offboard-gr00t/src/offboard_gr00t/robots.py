"""Whose request it is, of those that come over one connection: a proxy of ZeroMQ's brings those of many robots.

Each part of a request's envelope that is not empty was put there by a proxy, as its name for who asked it, or by the
REQ itself, as the number of its request (``ZMQ_REQ_CORRELATE``: four bytes, one more each time).
"""

from __future__ import annotations

import hashlib

from offboard_client.errors import BadMessage

#: Robots behind one connection at most; characters of what a proxy calls one, which stand in the log.
_MOST, _LONGEST = 1024, 64
_NUMBER = 4


class Robots:
    """Those of one connection. ``known``: the identities that were given."""

    def __init__(self, connection: str) -> None:
        self._connection = connection
        self._number: bytes | None = None
        self.known: set[str] = set()

    def identity(self, envelope: tuple[bytes, ...]) -> str:
        """Of who sent this. Raises BadMessage where that cannot be told, or there are too many."""
        names = [part for part in envelope if part]
        if len(names) == 1 and len(names[0]) == _NUMBER:
            self._check_number(names[0])
            names = []
        elif names and len(names[-1]) == _NUMBER:
            names = names[:-1]
        behind = ".".join(name.hex() for name in names)
        if len(behind) > _LONGEST:
            behind = hashlib.blake2b(behind.encode(), digest_size=16).hexdigest()
        identity = f"{self._connection}.{behind}" if behind else self._connection
        if identity not in self.known and len(self.known) >= _MOST:
            raise BadMessage(f"there are {_MOST} robots behind this connection; open another one")
        self.known.add(identity)
        return identity

    def _check_number(self, number: bytes) -> None:
        """Two robots with names of four bytes must not be taken for one that counts its requests."""
        before, self._number = self._number, number
        orders = ("little", "big")
        if before is not None and not any(
            int.from_bytes(number, order) == (int.from_bytes(before, order) + 1) % 2**32 for order in orders
        ):
            raise BadMessage(
                "a request whose envelope holds four bytes is no next one of the same REQ: behind a proxy give each "
                "robot's socket an identity of another length, or none"
            )
