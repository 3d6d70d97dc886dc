"""Whose request it is, of those that come over one connection: a proxy of ZeroMQ's brings those of many robots.

Each part of a request's envelope that is not empty was put there by a proxy, as its name for who asked it, or by the
REQ itself, as the number of its request (``ZMQ_REQ_CORRELATE``: four bytes, one more each time).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from offboard_client.errors import BadMessage

#: Robots behind one connection at most; characters of what a proxy calls one, which stand in the log.
_MOST, _LONGEST = 1024, 64
_NUMBER = 4


class Robots:
    """Those of one connection. ``known``: the identities that were kept; ``is_here``: whether one has a session."""

    def __init__(self, connection: str, is_here: Callable[[str], bool]) -> None:
        self._connection, self._is_here = connection, is_here
        #: The last request's number of each that counts.
        self._numbers: dict[str, bytes] = {}
        self.known: set[str] = set()

    def identity(self, envelope: tuple[bytes, ...]) -> str:
        """Of who sent this. Raises BadMessage where that cannot be told."""
        names = [part for part in envelope if part]
        number = names.pop() if names and len(names[-1]) == _NUMBER else None
        behind = ".".join(name.hex() for name in names)
        if len(behind) > _LONGEST:
            behind = hashlib.blake2b(behind.encode(), digest_size=16).hexdigest()
        identity = f"{self._connection}.{behind}" if behind else self._connection
        if number is not None:
            self._check_number(identity, number)
        return identity

    def keep(self, identity: str) -> None:
        """It asks for a session. Raises BadMessage where there are too many that have one.

        A proxy does not say who has left, and calls each that comes by another name: who has no session is forgotten.
        """
        if identity not in self.known and len(self.known) >= _MOST:
            self.known = {each for each in self.known if self._is_here(each)}
            if len(self.known) >= _MOST:
                raise BadMessage(
                    f"there are {_MOST} robots behind this connection: put another proxy beside it, or ask again when "
                    "the session of one has ended (--gr00t.silence)"
                )
        self.known.add(identity)

    def _check_number(self, identity: str, number: bytes) -> None:
        """Two robots with names of four bytes must not be taken for one that counts its requests."""
        before = self._numbers.pop(identity, None)
        if len(self._numbers) >= _MOST:
            self._forget_a_number()
        self._numbers[identity] = number
        # Nearly all count in little. arm2 would come after arm1 in big, so what is a text is not read as that.
        orders = ("little",) if number.isascii() and number.decode().isprintable() else ("little", "big")
        if before is None or not self._is_here(identity):  # that may be another REQ
            return
        if not any(int.from_bytes(number, order) == (int.from_bytes(before, order) + 1) % 2**32 for order in orders):
            raise BadMessage(
                "a request whose envelope holds four bytes is no next one of the same REQ: behind a proxy give each "
                "robot's socket an identity of another length, or none"
            )

    def _forget_a_number(self) -> None:
        """That of who has been silent the longest, of those without a session if there are any."""
        gone = next((each for each in self._numbers if not self._is_here(each)), next(iter(self._numbers)))
        del self._numbers[gone]
