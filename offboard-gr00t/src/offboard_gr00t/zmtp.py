"""ZMTP 3, the protocol of ZeroMQ's connections, as far as a server of REQ clients needs it; without I/O.

Written from the specification (RFC 37/ZMTP 3.1, rfc.zeromq.org/spec/37) instead of binding libzmq's ROUTER, which
collects any number of parts of a message before anybody is asked, and so lets whoever may connect fill the memory.

Here nothing is kept that nobody will read: a message is an envelope of a few short parts, an empty part, and one body
of bounded length. A longer body is passed over, and told, so that its client hears why instead of waiting for ever.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

_MORE, _LONG, _COMMAND = 1, 2, 4
_KNOWN = _MORE | _LONG | _COMMAND
_SIGNATURE, _VERSION, _MECHANISM = b"\xff\0\0\0\0\0\0\0\x01\x7f", b"\x03\x01", b"NULL".ljust(20, b"\0")
_READY, _PING, _PONG = b"\x05READY", b"\x04PING", b"\x04PONG"
_TYPE = b"Socket-Type"
_CLIENTS = (b"REQ", b"DEALER")
#: Parts of an envelope; bytes of each, and of a command.
_MOST_PARTS, _LONGEST_PART, _LONGEST_COMMAND = 8, 255, 1024
#: Bytes of the place where they are collected: at first, and at most when none are waited for.
_LEAST, _KEPT = 64 * 1024, 8 * 2**20
#: Frames that are read at once: a small one costs its sender four bytes, and the server's other robots a turn.
_AT_ONCE = 64
#: How much of a body that is too long is passed over, in times of what it may be, before its client is cut off.
_PASSED_OVER = 8

#: Is given the bytes that it asked for.
_Reading = Generator[int, bytes, None]


class ProtocolError(Exception):
    """What the other end speaks is no ZMTP that is spoken here, or too much of it: the connection has no future."""


@dataclass(frozen=True)
class Request:
    """One message. ``envelope``: the parts that its answer has to begin with. ``body``: None where it was too long."""

    envelope: tuple[bytes, ...]
    body: bytes | None


class ServerEnd:
    """Our end of one connection.

    ``longest``: how many bytes a body may have. ``outgoing``: what the protocol itself wants to be sent: its greeting
    from the beginning, then what it answers; whoever sends it empties it. ``ready``: whether the other end has
    introduced itself. ``frames``: how many it has sent. ``more``: whether some that came are not read yet; then no more
    may come, and ``received(0)`` reads on.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._store = bytearray(_LEAST)
        self._start = self._end = self._skip = 0
        self._parts: list[bytes] = []
        self._requests: list[Request] = []
        self.outgoing = bytearray(_SIGNATURE + _VERSION + _MECHANISM + bytes(32))
        self.ready = self.more = False
        self.frames = 0
        self._reading = self._read()
        self._wanted = next(self._reading)

    @property
    def begun(self) -> bool:
        """Whether something has begun that only more bytes can end: the introduction, or a message."""
        return not self.ready or bool(self._end or self._parts or self._skip)

    @property
    def held(self) -> int:
        """Bytes of memory that its collecting takes, or that are kept for the next message."""
        return len(self._store)

    def shrink(self) -> None:
        """Keep no more for the next message than in the beginning. Only where nothing has begun."""
        self._store = bytearray(_LEAST)

    def room(self) -> memoryview:
        """Where the next bytes go; then :meth:`received` says how many came. It never grows beyond twice of these."""
        if self._end == len(self._store):
            self._store.extend(bytes(len(self._store)))
        return memoryview(self._store)[self._end :]

    def received(self, count: int) -> list[Request]:
        """The messages that these bytes complete, and no more than are read at once (:attr:`more`).

        Raises ProtocolError, after which nothing more may come.
        """
        self._end += count
        last, self.more = self.frames + _AT_ONCE, False
        with memoryview(self._store) as store:
            while True:
                passed = min(self._skip, self._end - self._start)
                self._start, self._skip = self._start + passed, self._skip - passed
                if self._skip or self._end - self._start < self._wanted:
                    break
                if self.frames == last:
                    self.more = True
                    break
                part = bytes(store[self._start : self._start + self._wanted])
                self._start += self._wanted
                self._wanted = self._reading.send(part)
        if not self.more:
            self._tidy()
        found, self._requests = self._requests, []
        return found

    # -- inside ----------------------------------------------------------------------------------------------------
    def _tidy(self) -> None:
        """Bring what is not read yet to the front, where there is room for the rest of it behind."""
        left = self._end - self._start
        if left == 0 and len(self._store) > _KEPT:
            self._store = bytearray(_LEAST)
        elif left and self._start:
            self._store[:left] = self._store[self._start : self._end]
        self._start, self._end = 0, left

    def _read(self) -> _Reading:
        yield from self._greeting()
        yield from self._introduction()
        while True:
            yield from self._frame()

    def _greeting(self) -> _Reading:
        signature = yield 10
        if signature[0] != 0xFF or signature[9] != 0x7F:
            raise ProtocolError("it begins as no connection of ZeroMQ does")
        if (major := (yield 1)[0]) < 3:
            raise ProtocolError(f"it speaks version {major} of ZMTP, expected 3, which is libzmq 4 or later")
        rest = yield 53
        if rest[1:21] != _MECHANISM:
            asked = rest[1:21].rstrip(b"\0").decode("latin-1")
            raise ProtocolError(f"it wants the security mechanism {asked!r}; here is NULL only")
        self.outgoing += _framed(_READY + _property(_TYPE, b"ROUTER") + _property(b"Identity", b""), _COMMAND)

    def _introduction(self) -> _Reading:
        flags, size = yield from self._head()
        if not flags & _COMMAND:
            raise ProtocolError("it sent a message before it had introduced itself")
        command = yield size
        if not command.startswith(_READY):
            raise ProtocolError("it did not introduce itself with READY")
        kind = _properties(command[len(_READY) :]).get(_TYPE.lower(), b"")
        if kind not in _CLIENTS:
            raise ProtocolError(f"it is a {kind.decode('latin-1')[:20] or 'socket of no type'}, expected a REQ")
        self.ready = True

    def _frame(self) -> _Reading:
        flags, size = yield from self._head()
        if flags & _COMMAND:
            self._command((yield size))
        elif flags & _MORE:
            if len(self._parts) == _MOST_PARTS or size > _LONGEST_PART:
                raise ProtocolError(
                    f"expected an envelope of {_MOST_PARTS} parts of {_LONGEST_PART} bytes, then a body"
                )
            self._parts.append((yield size))
        elif size <= self._longest:
            self._request((yield size))
        elif size <= _PASSED_OVER * self._longest:
            self._skip = size
            yield 0
            self._request(None)
        else:
            raise ProtocolError(f"a message of {size:,} bytes")
        self.frames += 1

    def _head(self) -> Generator[int, bytes, tuple[int, int]]:
        flags = (yield 1)[0]
        if flags & ~_KNOWN:
            raise ProtocolError("a frame has flags that do not exist")
        size = int.from_bytes((yield 8 if flags & _LONG else 1), "big")
        if flags & _COMMAND and size > _LONGEST_COMMAND:
            raise ProtocolError(f"a command has {size:,} bytes")
        return flags, size

    def _request(self, body: bytes | None) -> None:
        parts, self._parts = self._parts, []
        if not parts or parts[-1]:
            raise ProtocolError("a message has no empty part before its body, as those of a REQ have")
        self._requests.append(Request(tuple(parts), body))

    def _command(self, command: bytes) -> None:
        if command.startswith(_PING):
            # Behind its name and two bytes of how long it may be silent stands what the answer repeats.
            self.outgoing += _framed(_PONG + command[len(_PING) + 2 :][:16], _COMMAND)


def answer(request: Request, body: bytes) -> Sequence[bytes]:
    """What is sent to answer ``request``, in pieces."""
    return [*(_framed(part, _MORE) for part in request.envelope), _head_of(body, 0), body]


def _framed(part: bytes, flags: int) -> bytes:
    return _head_of(part, flags) + part


def _head_of(part: bytes, flags: int) -> bytes:
    if len(part) > 255:
        return bytes((flags | _LONG,)) + len(part).to_bytes(8, "big")
    return bytes((flags, len(part)))


def _property(name: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name + len(value).to_bytes(4, "big") + value


def _properties(data: bytes) -> dict[bytes, bytes]:
    """Names in lower case, for the specification compares them so."""
    found: dict[bytes, bytes] = {}
    while data:
        name, data = data[1 : 1 + data[0]], data[1 + data[0] :]
        size, data = int.from_bytes(data[:4], "big"), data[4:]
        found[name.lower()], data = data[:size], data[size:]
    return found
