"""Whole binary messages, cut out of what a client sends, in memory that is the message's own.

A robot's observations come as frames that are whole binary messages, and these alone are read here: the kernel writes
them where they stay, and they are unmasked there. Every other frame goes on as it came, from its first byte to its
last, to websockets' own protocol, and whatever is odd about a header for good: there is one opinion on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from websockets.speedups import apply_mask
except ImportError:  # an interpreter for which it has not been compiled
    from websockets.utils import apply_mask

#: Bytes that are kept for frames that fit, and for headers.
KEPT = 16384
_BINARY = 0x82  # the last frame of a message, no reserved bits, opcode 2 (RFC 6455, 5.2)
_FIN, _OPCODE, _MASKED, _LENGTH = 0x80, 0x0F, 0x80, 0x7F
_CONTINUES = 0
_DATA = (1, 2)
_OPCODES = (_CONTINUES, *_DATA, 8, 9, 10)
#: What stands for the length of a payload → how many bytes of the header hold it.
_WIDE = {126: 2, 127: 8}


class MessageReader:
    """``get_buffer`` and ``buffer_updated`` are those of :class:`asyncio.BufferedProtocol`.

    ``count()`` is called for every frame before it is looked into; False ends the reading. ``message(data)`` takes a
    binary message: bytes, or a read-only view if it is large. ``other(data)`` takes what is not read here, and says
    whether frames that follow may be. ``limit``: bytes of a message; a longer one is not for here either. No memory is
    touched for what has only been announced.
    """

    def __init__(
        self,
        limit: int,
        count: Callable[[], bool],
        message: Callable[[bytes | memoryview], bool],
        other: Callable[[bytes], bool],
    ) -> None:
        self._limit, self._count, self._deliver, self._other = limit, count, message, other
        self._kept = memoryview(bytearray(KEPT))
        self._end = 0
        #: Whether the frame at the beginning was counted; bytes of a frame under way that goes on as it came.
        self._counted, self._through = False, 0
        self._fragments = self._lost = self._over = False
        #: Whether what comes next is anything else than the beginning of a frame.
        self._odd = False
        self._words: NDArray[np.uint64] | None = None
        self._bytes: memoryview = self._kept
        # Twice the key, as the one number of an array, which numpy takes as it is.
        self._key: NDArray[np.uint64] = np.zeros(1, np.uint64)
        self._filled = self._clear = 0

    def get_buffer(self, sizehint: int = -1) -> memoryview:
        """Where what comes next belongs. Never empty."""
        return self._kept[self._end :] if self._words is None else self._bytes[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes were written there. Those of a large message are unmasked while the processor has them near."""
        words = self._words
        if words is None:
            if not self._over:
                self._end += nbytes
                if not self._take_usual():
                    self._cut()
            return
        filled = self._filled = self._filled + nbytes
        whole = filled == len(self._bytes)
        end = len(words) if whole else filled // 8
        part: Any = words[self._clear : end]
        np.bitwise_xor(part, self._key, part)
        self._clear = end
        if whole:
            message, self._words, self._bytes = self._bytes.toreadonly(), None, self._kept
            self._over = not self._deliver(message)

    def _take_usual(self) -> bool:
        """Take what is there, if that is one whole binary message and nothing beside it, or how a large one begins.

        That it nearly always is. False where it is anything else, with nothing done.
        """
        kept, end = self._kept, self._end
        if end < 6 or kept[0] != _BINARY or self._odd:
            return False
        length, header = kept[1] - _MASKED, 6
        if length == 126:
            length, header = kept[2] << 8 | kept[3], 8
        elif length == 127:
            length, header = int.from_bytes(kept[2:10], "big"), 14
        whole = length + header
        if end < header or (whole != end and whole <= KEPT) or length > self._limit:
            return False
        self._end = 0
        if not self._count():
            self._over = True
        elif whole == end:
            self._over = not self._deliver(apply_mask(kept[header:end], bytes(kept[header - 4 : header])))
        else:
            self._begin(length, kept[header - 4 : header], kept[header:end])
        return True

    def _cut(self) -> None:
        start = 0
        while not self._over and start < self._end:
            taken = self._take(start)
            if not taken:
                break
            start += taken
        if self._words is not None or self._over or start == self._end:
            self._end = 0
        elif start:
            rest = self._end - start
            self._kept[:rest] = bytes(self._kept[start : self._end])
            self._end = rest
        self._odd = bool(self._counted or self._through or self._fragments or self._lost)

    def _take(self, start: int) -> int:
        """Take the frame that begins there, or what there is of it; how many bytes that were, 0 to wait for more."""
        kept, have = self._kept, self._end - start
        if self._lost or self._through:
            some = have if self._lost else min(have, self._through)
            self._through -= 0 if self._lost else some
            if not self._other(bytes(kept[start : start + some])):
                self._lost = True
            return some
        if have < 2:
            return 0
        first, second = kept[start], kept[start + 1]
        length, wide = second & _LENGTH, 0
        if length > 125:
            wide = _WIDE[length]
            length = int.from_bytes(kept[start + 2 : start + 2 + wide], "big") if have >= 2 + wide else 0
        header = 2 + wide + (4 if second & _MASKED else 0)
        odd = not second & _MASKED or first & _OPCODE not in _OPCODES
        if have < header and not odd:
            return 0
        if not self._counted:
            if not self._count():
                self._over = True
                return have
            self._counted = True
        if odd or length > self._limit:
            self._lost = True
            return self._take(start)
        if first != _BINARY or self._fragments:
            self._note(first)
            self._counted, self._through = False, header + length
            return self._take(start)
        payload = start + header
        if have < header + length:
            if header + length > KEPT:
                self._begin(length, kept[payload - 4 : payload], kept[payload : self._end])
                return have
            return 0
        self._counted = False
        self._over = not self._deliver(apply_mask(kept[payload : payload + length], bytes(kept[payload - 4 : payload])))
        return header + length

    def _note(self, first: int) -> None:
        """Whether a message in pieces is under way after this frame."""
        opcode = first & _OPCODE
        if opcode in _DATA:
            self._fragments = self._fragments or not first & _FIN
        elif opcode == _CONTINUES and first & _FIN:
            self._fragments = False

    def _begin(self, length: int, key: memoryview, came: memoryview) -> None:
        # Not filled with zeros: pages that nothing is written to are not there.
        words = self._words = np.empty(-(-length // 8), np.uint64)
        self._bytes = words.data.cast("B")[:length]
        self._key = np.frombuffer(bytes(key) * 2, np.uint64)
        self._filled, self._clear, self._counted = len(came), 0, False
        self._bytes[: self._filled] = came


def is_utf8(data: bytes) -> bool:
    """Whether it is one text."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
