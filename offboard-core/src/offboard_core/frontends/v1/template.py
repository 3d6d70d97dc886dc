"""Replies that differ from the one before in nothing but numbers: these are put into its text.

A robot is answered chunks of one shape, and all but the chunk's data, the times and the observation's number is written
as it was before. So the encoder is asked once for each form, with marks in their places, and stays the only one that
knows how anything is written.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import msgpack as _untyped  # pyright: ignore[reportMissingTypeStubs]
import numpy as np
from offboard_client import wire
from offboard_client.wire import SEQ

from ...types import Array, Chunk
from . import replies

_msgpack: Any = _untyped
_ARRAY: Any = np.ndarray
#: Bytes of an array that is put into a text: fewer might stand elsewhere in it, too, and the encoder copies large ones
#: one time less.
_LEAST, _MOST = 8, wire.LARGE


class Template:
    """Of one session's replies with columns. Not thread-safe."""

    def __init__(self) -> None:
        self._pack = _msgpack.Packer().pack
        self._form: tuple[Any, ...] | None = None
        self._text: bytes | None = None

    def filled(self, chunk: Chunk, timing: Mapping[str, float], seq: int) -> bytes | None:
        """The reply that the encoder would write; None where it is to be asked."""
        action: Any = chunk.action
        times: Any = chunk.timestamp
        if type(action) is not _ARRAY or (times is not None and type(times) is not _ARRAY):
            return None
        form = (action.dtype, action.shape) if times is None else (action.dtype, action.shape, times.dtype, times.shape)
        if form != self._form:
            self._form, self._text = form, _text(action, times)
        text, pack = self._text, self._pack
        if text is None:
            return None
        if times is None:
            return text % (action.tobytes(), pack(timing), pack(seq))
        return text % (action.tobytes(), times.tobytes(), pack(timing), pack(seq))


def _text(action: Array, times: Array | None) -> bytes | None:
    """What the encoder makes of a reply with arrays like these, with ``%b`` for what differs. None for some arrays."""
    arrays = [action] if times is None else [action, times]
    if not all(array.dtype.kind in "fiub" and _LEAST <= array.nbytes < _MOST for array in arrays):
        return None
    data = [secrets.token_bytes(array.nbytes) for array in arrays]
    marked: list[Any] = [np.frombuffer(mark, a.dtype).reshape(a.shape) for mark, a in zip(data, arrays, strict=True)]
    timing, seq = secrets.token_bytes(16), secrets.token_bytes(16)
    rest = wire.encode({"result": replies.as_columns(Chunk(*marked)), "timing": timing, SEQ: seq})
    parts: list[bytes] = []
    for mark in (*data, wire.encode(timing), wire.encode(seq)):
        before, rest = rest.split(mark)
        parts.append(before)
    return b"%b".join(part.replace(b"%", b"%%") for part in (*parts, rest))
