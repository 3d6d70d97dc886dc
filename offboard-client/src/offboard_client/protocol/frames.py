"""The frames that nearly all of a session is made of, read and written without websockets (RFC 6455 §5.2, §5.3).

What is read here are whole text and binary frames of a server. All else, and whatever is odd, is left to websockets'
own protocol, frame by frame, and the events are the same as if it had read everything.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from websockets.frames import Opcode

from ..wire import LARGE

try:
    from websockets.speedups import apply_mask
except ImportError:  # an interpreter for which it has not been compiled
    from websockets.utils import apply_mask

Piece = bytes | memoryview

_FIN = 0x80
_MASKED = 0x80
_WHOLE = {_FIN | Opcode.TEXT, _FIN | Opcode.BINARY}
_OPCODES = frozenset(map(int, Opcode))
#: What the buffer holds while no larger message comes.
_KEPT = 65536
#: A header of a server's frame has at most so many bytes.
_HEADER = 10
_TINY, _SMALL, _ANY = struct.Struct("!BB4s"), struct.Struct("!BBH4s"), struct.Struct("!BBQ4s")
_BINARY = int(_FIN | Opcode.BINARY)
#: A server's header before 126 to 65535 bytes: its second byte stands for these two.
_USUAL, _USUAL_LENGTH = struct.Struct("!BBH"), 126
#: Bytes of the system's randomness that are asked for at once.
_KEYS = 4 * 256


class Turns(NamedTuple):
    """A frame in turns. All of one has to be sent before the next is asked for, which reuses its memory."""

    size: int
    turns: Iterable[list[Piece]]


class FrameReader:
    """Cuts what a server sends into frames, in a buffer that is kept. ``most``: bytes of a payload."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = bytearray(_KEPT)
        self._buffer = memoryview(self._bytes)
        #: Of the buffer, what has come and was not taken yet; whoever puts more there moves the end.
        self.start = self.end = 0
        #: How many bytes are still to come of a frame whose beginning was passed on.
        self.owed = 0

    def room(self) -> memoryview:
        """Where what is received next is put; never empty."""
        if self.start == self.end:
            self.start = self.end = 0
            if len(self._bytes) > _KEPT:
                self._allocate(_KEPT)
            return self._buffer
        if self.end == len(self._bytes):
            have = self._buffer[self.start :]
            if not self.start:  # it grows with what has come, not with what a header claims
                self._allocate(min(2 * self.end, self._most + _HEADER))
            self._buffer[: len(have)] = have
            self.start, self.end = 0, len(have)
        return self._buffer[self.end :]

    def line(self) -> memoryview:
        """What has come of a line, its end included."""
        start = self.start
        self.start = self._bytes.find(b"\n", start, self.end) + 1 or self.end
        return self._buffer[start : self.start]

    def rest(self) -> memoryview:
        """All that has come and was not taken yet: it is taken now."""
        start, self.start = self.start, self.end
        return self._buffer[start : self.end]

    def whole(self) -> bytes | None:
        """The payload of what is there, if that is one whole binary frame of the usual size and nothing beside it.

        It is taken then. Nearly every answer comes so; all else is for :meth:`next`.
        """
        end = self.end
        if self.start or self.owed or end < _USUAL.size:
            return None
        first, second, length = _USUAL.unpack_from(self._bytes)
        if first != _BINARY or second != _USUAL_LENGTH or length + _USUAL.size != end or length > self._most:
            return None
        self.end = 0
        return bytes(self._buffer[_USUAL.size : end])

    def next(self, in_message: bool) -> tuple[int, bytes | memoryview] | None:
        """The opcode and the payload of a whole frame of data; or 0 and bytes that are websockets' to read.

        None where more has to come first. ``in_message``: a message has begun in an earlier frame.
        """
        buffer, start = self._buffer, self.start
        have = self.end - start
        if self.owed:
            taken = min(have, self.owed)
            if not taken:
                return None
            self.owed -= taken
            self.start += taken
            return 0, buffer[start : self.start]
        if have < 2:
            return None
        first, length = buffer[start], buffer[start + 1]
        if length & _MASKED or first & 0x0F not in _OPCODES:
            return 0, self.rest()  # at which websockets gives up
        header = 2
        if length > 125:
            header = 4 if length == 126 else _HEADER
            if have < header:
                return None
            length = int.from_bytes(buffer[start + 2 : start + header], "big")
        size = header + length
        if first in _WHOLE and length <= self._most and not in_message:
            if have < size:
                return None
            self.start += size
            return first & 0x0F, bytes(buffer[start + header : self.start])
        taken = min(have, size)
        self.owed = size - taken
        self.start += taken
        return 0, buffer[start : self.start]

    def _allocate(self, size: int) -> None:
        self._bytes = bytearray(size)
        self._buffer = memoryview(self._bytes)


class FrameWriter:
    """Makes one masked binary frame of each message, with a fresh key, in a buffer that is kept."""

    def __init__(self) -> None:
        self._keys: Iterator[bytes] = iter(())
        self._memory = np.empty(0, np.uint64)
        # Of it, as much as the last image took: the next is as large nearly always.
        self._words = self._memory
        self._bytes = memoryview(b"")
        # Twice the key, as bytes and as a number.
        self._key_word = np.empty(1, np.uint64)
        self._key_bytes = self._key_word.data.cast("B")

    def frame(self, pieces: Sequence[Piece]) -> Turns:
        """The frame of a message that consists of the pieces, and how many bytes it carries."""
        size, key = sum(map(len, pieces)), next(self._keys, b"") or self._fresh()
        if size < 126:
            header = _TINY.pack(_BINARY, _MASKED | size, key)
        elif size < 65536:
            header = _SMALL.pack(_BINARY, _MASKED | 126, size, key)
        else:
            header = _ANY.pack(_BINARY, _MASKED | 127, size, key)
        if size < LARGE:
            return Turns(size, ([header + apply_mask(pieces[0] if len(pieces) == 1 else b"".join(pieces), key)],))
        return Turns(size, self._masked(header, pieces, key))

    def _masked(self, header: bytes, pieces: Sequence[Piece], key: bytes) -> Iterator[list[Piece]]:
        turn: list[Piece] = [header]
        at, filled, twice = 0, False, 2 * key
        for piece in pieces:
            size, turned = len(piece), twice[at % 4 : at % 4 + 4]
            at += size
            if size < LARGE:
                turn.append(apply_mask(piece, turned))
                continue
            if filled:  # the other end takes in the one image while the next one is masked
                yield turn
                turn = []
            filled, whole = True, size // 8
            if len(self._words) != whole:
                if len(self._memory) < whole:
                    self._memory = np.empty(whole, np.uint64)
                self._words = self._memory[:whole]
                self._bytes = self._words.data.cast("B")
            self._key_bytes[:] = 2 * turned
            np.bitwise_xor(np.frombuffer(piece, np.uint64, whole), self._key_word, self._words)
            turn.append(self._bytes)
            if size % 8:  # whole words leave the key at its beginning
                turn.append(apply_mask(piece[8 * whole :], turned))
        yield turn

    def _fresh(self) -> bytes:
        found = secrets.token_bytes(_KEYS)
        self._keys = iter([found[at : at + 4] for at in range(0, _KEYS, 4)])
        return next(self._keys)
