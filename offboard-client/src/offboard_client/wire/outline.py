"""Where the parts of a message are that msgpack has decoded already, for what is learnt of it."""

from __future__ import annotations

import struct

from .packing import Buffer

#: What msgpack writes before a number of each kind → how to read what follows.
_NUMBERS = {
    first: struct.Struct(f">{form}") for first, form in zip((0xCA, 0xCB, *range(0xCC, 0xD4)), "fdBHIQbhiq", strict=True)
}
_SMALL, _NEGATIVE = struct.Struct(">B"), struct.Struct(">b")
_CONSTANTS = (0xC0, 0xC2, 0xC3)  # None, False, True
_TEXT_SIZES, _BYTES_SIZES = {0xD9: 1, 0xDA: 2}, {0xC4: 1, 0xC5: 2, 0xC6: 4}

#: Where the part of an entry stands that differs from message to message, and how it is read if it is a number; None
#: for an entry that is always the same.
_Part = tuple[int, int, "tuple[struct.Struct, range | None] | None"] | None


class Outline:
    """Where the parts of a message are that msgpack has decoded already."""

    def __init__(self, data: Buffer) -> None:
        self._data = data
        self.at = 0
        #: From where to where it is always the same; its numbers, each with its map, name and beginning.
        self.same: list[tuple[int, int]] = []
        self.numbers: list[tuple[int, str, int, tuple[struct.Struct, range | None]]] = []

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _size(self, wide: int) -> int:
        self.at += wide
        return int.from_bytes(self._data[self.at - wide : self.at], "big")

    def _skip(self, wide: int) -> None:
        size = self._size(wide)
        self.at += size

    def map(self) -> int:
        """How many entries the map has that begins here."""
        first = self._byte()
        if first == 0xDE:
            return self._size(2)
        if first & 0xF0 != 0x80:
            raise Other
        return first & 0x0F

    def text(self) -> None:
        """Pass a text."""
        first = self._byte()
        if first & 0xE0 == 0xA0:
            self.at += first & 0x1F
        elif first in _TEXT_SIZES:
            self._skip(_TEXT_SIZES[first])
        else:
            raise Other

    def value(self) -> _Part:
        """Pass the value of an entry; what of it differs from message to message."""
        first = self._data[self.at]
        if (number := _number(first)) is not None:
            start = self.at + (number[1] is None)
            self.at = start + number[0].size
            return start, self.at, number
        if first in _CONSTANTS:
            self.at += 1
        elif first & 0xF0 == 0x80:
            return self._array()
        else:
            self.text()
        return None

    def _array(self) -> _Part:
        """The map that stands for one: its data differs, all else about it is the same."""
        found: list[tuple[int, int]] = []
        for _ in range(self.map()):
            self._key()
            first = self._data[self.at]
            if first in _BYTES_SIZES:
                self.at += 1
                size = self._size(_BYTES_SIZES[first])
                found.append((self.at, self.at + size))
                self.at += size
            elif first & 0xF0 == 0x90:
                self.at += 1
                for _ in range(first & 0x0F):
                    self.value()
            else:
                self.value()
        if len(found) != 1:
            raise Other
        return *found[0], None

    def _key(self) -> None:
        if self._data[self.at] == 0xC4:
            self.at += 1
            self._skip(1)
        else:
            self.text()


class Other(Exception):
    """There is something in the message that no layout has."""


def _number(first: int) -> tuple[struct.Struct, range | None] | None:
    """How to read the number that begins so, and which numbers begin so if it is the number itself."""
    if first < 0x80:
        return _SMALL, range(128)
    if first >= 0xE0:
        return _NEGATIVE, range(-32, 0)
    return (_NUMBERS[first], None) if first in _NUMBERS else None
