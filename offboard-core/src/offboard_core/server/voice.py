"""A WebSocket's answers that the thread which made them says itself: see :mod:`offboard_core.engine.loans`.

Never do two write to a connection at a time. The event loop lends the right to only while nothing of its own is left to
be sent there, and takes it back before it writes, or ends the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import threading
from typing import Any

from ..frontends import lacking

#: RFC 6455's first byte of a frame that is a whole message.
BINARY, TEXT = 0x82, 0x81
#: Bytes of an answer that is said so: as much as the kernel takes at once, and a longer one costs more than a wake-up.
MOST = 8192
_USUAL = struct.Struct("!BBH")
_CAN = hasattr(socket, "MSG_DONTWAIT")


def header(first: int, length: int) -> bytes:
    """Of a frame that is not masked (RFC 6455, 5.2)."""
    if length < 126:
        return bytes((first, length))
    return _USUAL.pack(first, 126, length) if length < 65536 else struct.pack("!BBQ", first, 127, length)


def voice_of(transport: Any, loop: asyncio.AbstractEventLoop, sessions: int) -> Voice | None:
    """The one of a connection; None where there can be none: with TLS, and where a socket has no second descriptor.

    It takes none that one of so many ``sessions`` may need.
    """
    own = transport.get_extra_info("socket")
    if not _CAN or own is None or transport.get_extra_info("sslcontext") is not None:
        return None
    try:
        fd = os.dup(own.fileno())
    except OSError:  # there are no more descriptors
        return None
    if lacking(fd + sessions):
        os.close(fd)
        return None
    return Voice(transport, socket.socket(own.family, own.type, own.proto, fileno=fd), loop)


class Voice:
    """Of one connection. On the event loop, but for what it lends."""

    def __init__(self, transport: Any, own: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        # A descriptor of its own: by the time that a thread uses the transport's it may be another connection's.
        self._transport, self._socket, self._loop = transport, own, loop
        own.setblocking(False)  # or it waits where a library has set socket.setdefaulttimeout()
        #: Held by the thread while it says something, for as long as a call takes that does not wait.
        self.turn = threading.Lock()
        self._lent: _Loan | None = None
        self._rest = b""

    def lend(self) -> _Loan | None:
        """The right to say one answer; None where something has to be sent before. A former one is none any more."""
        if self._lent is not None:
            self._lent.recall()
        lent = self._lent = None if self._rest or self._transport.get_write_buffer_size() else _Loan(self)
        return lent

    def recall(self) -> bool:
        """Take back what is lent: whether the answer was said."""
        lent = self._lent
        return lent is not None and lent.recall()

    def done(self) -> None:
        """What was lent is over."""
        self._lent = None

    def quiet(self) -> None:
        """Have it so that the event loop may write: whatever was said is sent before."""
        self.recall()
        if self._rest:
            rest, self._rest = self._rest, b""
            self._transport.write(rest)

    def close(self) -> None:
        """The connection is gone."""
        self.recall()
        self._rest = b""
        self._socket.close()

    def forked(self) -> None:
        """In a process that was forked: it is another's. Nobody is waited for, for none of the threads is there."""
        self._socket.close()

    def send(self, frame: Any) -> bool:
        """Whether it was sent, or begun. On a thread, in its turn."""
        if type(frame) is not bytes or len(frame) > MOST:
            return False
        data = header(BINARY, len(frame)) + frame
        try:
            sent = self._socket.send(data, socket.MSG_DONTWAIT)
        except OSError:  # nobody is there, or takes more: the event loop knows what to do
            return False
        if sent < len(data):
            self._rest = data[sent:]
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server has left
                self._loop.call_soon_threadsafe(self.quiet)
        return True


class _Loan:
    """A :class:`~offboard_core.engine.loans.Loan`."""

    __slots__ = ("_open", "_voice", "said")

    def __init__(self, voice: Voice) -> None:
        self._voice, self._open, self.said = voice, True, False

    def say(self, reply: Any) -> bool:
        with self._voice.turn:
            if self._open:
                self._open = False
                self.said = self._voice.send(reply)
            return self.said

    def recall(self) -> bool:
        if self.said:  # which it stays; nothing is left to be done by the thread
            return True
        with self._voice.turn:
            self._open = False
            return self.said


class Guarded:
    """A connection's transport, to which nothing is written, and which is not ended, while its voice is lent."""

    def __init__(self, transport: Any, voice: Voice) -> None:
        self._transport, self._voice = transport, voice
        self.forked = voice.forked
        self.is_closing, self.get_write_buffer_size = transport.is_closing, transport.get_write_buffer_size

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """As of a transport."""
        self._voice.quiet()
        self._transport.write(data)

    def close(self) -> None:
        """As of a transport."""
        self._voice.quiet()
        self._transport.close()

    def abort(self) -> None:
        """As of a transport."""
        self._voice.recall()
        self._transport.abort()
