"""From part to part of a message in msgpack, none of which is made into anything: for the event loop."""

from __future__ import annotations

from struct import Struct
from struct import error as StructError

#: Parts of a message that are gone over, at most: what has more is left to who may take longer.
MOST_PARTS = 2048
#: What is no whole message of msgpack, or has more parts, raises one of these.
NO_MESSAGE = (LookupError, ValueError, StructError)

_BYTE, _SHORT, _LONG = Struct(">B"), Struct(">H"), Struct(">I")
#: First byte of a part → how a count is written, and what there is beside so many bytes; or how many parts each means.
_BYTES = {
    0xC4: (_BYTE, 0), 0xC5: (_SHORT, 0), 0xC6: (_LONG, 0),
    0xD9: (_BYTE, 0), 0xDA: (_SHORT, 0), 0xDB: (_LONG, 0),
    0xC7: (_BYTE, 1), 0xC8: (_SHORT, 1), 0xC9: (_LONG, 1),
}  # fmt: skip
_PARTS = {0xDC: (_SHORT, 1), 0xDD: (_LONG, 1), 0xDE: (_SHORT, 2), 0xDF: (_LONG, 2)}
#: First byte → how many bytes follow: nothing, numbers, and extensions of a fixed size.
_FIXED = {
    0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
    0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17,
}  # fmt: skip


class Walk:
    """Over ``frame``: ``at`` is where the next part begins. Methods raise :data:`NO_MESSAGE`.

    A part may be said to end behind the frame's end; who is done holds ``at`` against the frame's length.
    """

    def __init__(self, frame: bytes) -> None:
        self._frame, self._left, self.at = frame, MOST_PARTS, 0

    def enter(self) -> int:
        """Go into a map: how many entries it has, a name and a value each."""
        first = self._frame[self.at]
        self.at += 1
        if 0x80 <= first < 0x90:
            return first & 15
        form, each = _PARTS[first]
        if each != 2:
            raise ValueError("a list")
        (count,) = form.unpack_from(self._frame, self.at)
        self.at += form.size
        return count

    def skip(self) -> None:
        """Go past a part, with all that it holds."""
        frame, owed = self._frame, 1
        while owed:
            if owed > self._left:
                raise ValueError("too many")
            owed, self._left = owed - 1, self._left - 1
            first = frame[self.at]
            self.at += 1
            if first < 0x80 or first >= 0xE0:
                continue
            if first < 0x90:
                owed += 2 * (first & 15)
            elif first < 0xA0:
                owed += first & 15
            elif first < 0xC0:
                self.at += first & 31
            elif first in _FIXED:
                self.at += _FIXED[first]
            else:
                form, more = _BYTES[first] if first in _BYTES else _PARTS[first]
                (count,) = form.unpack_from(frame, self.at)
                self.at += form.size
                if first in _BYTES:
                    self.at += count + more
                else:
                    owed += count * more

    def skip_text(self, text: bytes) -> bool:
        """Go past a part: whether it is ``text``, as it is packed."""
        begin = self.at
        self.skip()
        return self.at - begin == len(text) and self._frame.startswith(text, begin)

    def is_text(self) -> bool:
        """Whether the part that follows is a string, or a list that begins with one."""
        at, first = self.at, self._frame[self.at]
        if 0x90 < first < 0xA0:
            at += 1
        elif first in (0xDC, 0xDD):
            at += 1 + _PARTS[first][0].size
        return 0xA0 <= self._frame[at] < 0xC0 or self._frame[at] in (0xD9, 0xDA, 0xDB)
