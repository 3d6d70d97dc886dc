"""Memory that a robot's client hands to a server of its own machine, which reads messages from there."""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Sequence

from .mapped import Broken, Outgoing
from .references import MemoryOffer, reference

Piece = bytes | memoryview

#: What a key has at most, and an answer at the door; and the answer that says yes.
KEY_BYTES, ANSWER_BYTES, TAKEN = 64, 200, b"taken"
#: Messages below this go by the socket, as they came: there is nothing to gain.
_SMALL = 16384
_CREDENTIALS = struct.Struct("3i")  # struct ucred: process, user, group (unix(7))


class Shared:
    """Memory that a server reads messages from; it goes with the last who holds this.

    ``size``: of the largest message that goes this way. The system's memory is only taken as it is written to.
    """

    def __init__(self, size: int) -> None:
        """Raises OSError where the system gives none."""
        self._out = Outgoing()
        self._out.reserve(size)

    def __del__(self) -> None:
        self._out.drop()

    def laid(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        """Put a message there: what is to be sent in its place, or the message itself where that is better sent.

        The server must have answered what was put there before.
        """
        size = sum(map(len, pieces))
        if not _SMALL <= size <= self._out.size:
            return pieces
        self._out.lay(pieces)
        return (reference(size),)

    def hand(self, sock: socket.socket, key: str) -> None:
        """Pass it to who listens at the other end of a Unix socket. Raises Broken, OSError."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [self._out.fresh]))]
        sock.sendmsg([key.encode()], rights)
        if (answer := sock.recv(ANSWER_BYTES)) != TAKEN:
            raise Broken(answer.decode(errors="replace") or "it hung up, as it does on processes of another user")
        self._out.sent()


def hand_over(offer: MemoryOffer, size: int, seconds: float) -> Shared:
    """Memory that the server which made the offer reads from. Raises Broken or OSError where it does not come to that.

    ``seconds``: how long the server may take for each of the two steps.
    """
    shared = Shared(size)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(seconds)
        sock.connect(b"\0" + offer.door.encode())
        if not same_user(sock):
            raise Broken("who listens there is another user")
        shared.hand(sock, offer.key)
    return shared


def same_user(sock: socket.socket) -> bool:
    """Whether the other end of a Unix socket is a process of this process's user, as the kernel says."""
    found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(found)[1]
    return user == os.geteuid()


__all__ = ["ANSWER_BYTES", "KEY_BYTES", "TAKEN", "Shared", "hand_over", "same_user"]
