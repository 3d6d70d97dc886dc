"""A socket that is read and written within waits, at the price of as few system calls as its kind allows."""

from __future__ import annotations

import select
import socket
import struct
import sys
from collections.abc import Sequence
from ssl import SSLSocket, SSLWantReadError

from ..protocol import Piece

#: Whether the kernel can end a wait by itself, as Linux does where ``struct timeval`` is two machine words.
_KERNEL_WAITS = sys.platform == "linux" and hasattr(socket, "MSG_DONTWAIT") and struct.calcsize("l") == 8
#: Linux takes 1024 pieces of memory at once.
_MOST_PIECES = 1000
#: Seconds; a shorter wait is set as it is.
_SHORT = 0.1


class Channel:
    """Any socket, TLS included. Waits are Python's, which a signal does not lengthen."""

    def __init__(self, raw: socket.socket) -> None:
        self.raw = raw

    def idle(self) -> bool:
        """Whether it is known that nothing has arrived, at the price of no more than one system call."""
        return False

    def take(self, room: memoryview) -> int | None:
        """Put into ``room`` what has arrived: how many bytes, 0 at the socket's end, None if nothing has."""
        self.raw.settimeout(0.0)
        try:
            return self.raw.recv_into(room)
        except (BlockingIOError, SSLWantReadError):
            return None

    def receive(self, room: memoryview, seconds: float) -> int | None:
        """The same, but wait for it; None where that took too long."""
        self.raw.settimeout(seconds)
        try:
            return self.raw.recv_into(room)
        except TimeoutError as error:
            _pass_over(error)
            return None

    def gathered(self, pieces: list[Piece]) -> list[Piece]:
        """The same bytes as :meth:`send` likes them."""
        return pieces if len(pieces) == 1 else [b"".join(pieces)]

    def send(self, pieces: Sequence[Piece], seconds: float) -> int:
        """Send of the pieces' bytes as many as go within the wait: how many; 0 where none did."""
        self.raw.settimeout(seconds)
        try:
            return self.raw.send(pieces[0])
        except TimeoutError as error:
            _pass_over(error)
            return 0


class PlainChannel(Channel):
    """A TCP socket whose waits are the kernel's: one system call receives, one sends, one sees that there is nothing.

    A call that a signal's handler has interrupted waits anew. Who has signals all the time needs somebody who ends it.
    """

    def __init__(self, raw: socket.socket) -> None:
        super().__init__(raw)
        raw.settimeout(None)
        self._poll = select.poll()
        self._poll.register(raw, select.POLLIN)
        self._receives = self._sends = 0.0

    def idle(self) -> bool:
        """As of any channel."""
        return not self._poll.poll(0)

    def take(self, room: memoryview) -> int | None:
        """As of any channel."""
        try:
            return self.raw.recv_into(room, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None

    def receive(self, room: memoryview, seconds: float) -> int | None:
        """As of any channel; the wait may end earlier."""
        if not seconds / 8 <= self._receives <= seconds:
            self._receives = self._set(socket.SO_RCVTIMEO, seconds)
        try:
            return self.raw.recv_into(room)
        except BlockingIOError:
            return None

    def gathered(self, pieces: list[Piece]) -> list[Piece]:
        """As of any channel: as they are, unless they are more than the kernel takes."""
        return pieces if len(pieces) <= _MOST_PIECES else super().gathered(pieces)

    def send(self, pieces: Sequence[Piece], seconds: float) -> int:
        """As of any channel; the wait may end earlier."""
        if not seconds / 8 <= self._sends <= seconds:
            self._sends = self._set(socket.SO_SNDTIMEO, seconds)
        try:
            return self.raw.send(pieces[0]) if len(pieces) == 1 else self.raw.sendmsg(pieces)
        except BlockingIOError:
            return 0

    def _set(self, option: int, seconds: float) -> float:
        """Waits of nearly the same length need it once: half of it serves them all."""
        most = max(seconds / 2 if seconds > _SHORT else seconds, 1e-6)  # 0 would be for ever
        self.raw.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(most), int(most % 1 * 1e6) or 1))
        return most


def quickest(raw: socket.socket) -> Channel:
    """The channel that takes the fewest system calls."""
    return PlainChannel(raw) if _KERNEL_WAITS and not isinstance(raw, SSLSocket) else Channel(raw)


def _pass_over(error: TimeoutError) -> None:
    """A wait for the socket that has merely ended is no error; one that the kernel gave up (ETIMEDOUT) is."""
    if error.errno is not None:
        raise error
