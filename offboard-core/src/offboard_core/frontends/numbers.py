"""The number of an observation that is not read: for an error about it that is made on the event loop."""

from __future__ import annotations

import re

from offboard_client.wire import SEQ

from .base import Frame

_NAME = re.escape(SEQ)
#: ``{"offboard.seq": 7, …`` and ``… , "offboard.seq": 7}``. Elsewhere it could be part of a deeper map, or of a text.
_FIRST = re.compile(rf'\s*\{{\s*"{_NAME}"\s*:\s*(-?\d{{1,19}})\s*[,}}]')
_LAST = re.compile(rf'[{{,]\s*"{_NAME}"\s*:\s*(-?\d{{1,19}})\s*\}}\s*\Z')
#: The name in msgpack, and what a map may begin with: as many as fit into 4, 16 or 32 bits.
_KEY = bytes([0xA0 + len(SEQ)]) + SEQ.encode()
_MAP = re.compile(rb"[\x80-\x8f]|\xde..|\xdf....", re.DOTALL)
#: The first byte of an integer in msgpack → how many follow, and whether it has a sign.
_WIDTHS = {
    0xCC: (1, False),
    0xCD: (2, False),
    0xCE: (4, False),
    0xCF: (8, False),
    0xD0: (1, True),
    0xD1: (2, True),
    0xD2: (4, True),
    0xD3: (8, True),
}


def find_seq(frame: Frame) -> int | None:
    """The ``offboard.seq`` that is the first or the last name of an observation; None for any other."""
    if isinstance(frame, str):
        found = _FIRST.match(frame) or _LAST.search(frame)
        return None if found is None else int(found[1])
    at = frame.rfind(_KEY)
    if at >= 0:
        seq, end = _integer(frame, at + len(_KEY))
        if seq is not None and end == len(frame):
            return seq
    begin = _MAP.match(frame)
    if begin is not None and frame.startswith(_KEY, begin.end()):
        return _integer(frame, begin.end() + len(_KEY))[0]
    return None


def _integer(frame: bytes, at: int) -> tuple[int | None, int]:
    """The integer that begins at ``at``, if one does, and where it ends."""
    first = frame[at] if at < len(frame) else 0xC0
    if first <= 0x7F or first >= 0xE0:
        return first if first <= 0x7F else first - 0x100, at + 1
    width, signed = _WIDTHS.get(first, (0, False))
    data = frame[at + 1 : at + 1 + width]
    if not width or len(data) < width:
        return None, at
    return int.from_bytes(data, "big", signed=signed), at + 1 + width
