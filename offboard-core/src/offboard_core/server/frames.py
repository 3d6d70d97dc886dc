"""How many frames a client sends, told without taking them apart."""

from __future__ import annotations

from ..frontends import Bucket

_MASKED, _LENGTH = 0x80, 0x7F
#: What stands for the length of a payload → how many bytes of the header hold it.
_WIDE = {126: 2, 127: 8}


class FrameMeter(Bucket):
    """One token for a frame.

    Frames are counted before they are parsed: one read of a socket can hold forty thousand empty ones, which would
    take half a second of the loop that everybody shares.
    """

    def __init__(self, rate: float, now: float) -> None:
        super().__init__(rate, now)
        #: Bytes of the frame's payload that have yet to come, and what came of a header that is not whole.
        self._payload = 0
        self._header: bytes = b""

    @property
    def between(self) -> bool:
        """Whether what was counted so far ends with a whole frame."""
        return not (self._payload or self._header)

    def one(self, now: float) -> bool:
        """Count one that was taken apart already."""
        tokens, self._now = self._tokens + (now - self._now) * self._rate, now
        self._tokens = (tokens if tokens < self._rate else self._rate) - 1  # refilled, less one
        return self._tokens >= 0

    def take(self, data: bytes, now: float) -> bool:
        """Count the frames that begin in ``data``, which came at ``now`` (s). False once there were too many."""
        if len(data) <= self._payload:
            self._payload -= len(data)
            return True
        self.refill(now)
        at = self._payload
        if self._header:
            data = self._header + data
        while at < len(data) and (size := _frame_size(data, at)) is not None:
            self._tokens -= 1
            if self._tokens < 0:
                return False
            at += size
        self._payload, self._header = max(0, at - len(data)), data[at:]
        return True


def _frame_size(data: bytes, at: int) -> int | None:
    """How long the frame that begins at ``at`` is (RFC 6455, 5.2); None if not all of its header is there."""
    if len(data) < at + 2:
        return None
    second = data[at + 1]
    header = 6 if second & _MASKED else 2
    length = second & _LENGTH
    wide = _WIDE.get(length, 0)
    if len(data) < at + header + wide:
        return None
    if wide:
        length = int.from_bytes(data[at + 2 : at + 2 + wide], "big")
    return header + wide + length
