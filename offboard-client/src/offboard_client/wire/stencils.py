"""Messages that are like the one before, written: what is the same was made once, and what differs is put into it.

A robot sends the same names, dtypes and shapes with every observation. A stencil is what :class:`~.packing.Encoder`
made of one of them, less the data of its arrays and its numbers. Any other message is for the encoder, which alone
decides how a value is written, and what has no form.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import msgpack as _untyped  # pyright: ignore[reportMissingTypeStubs]
import numpy as np

from .pace import Pace
from .packing import LARGE, bytes_header, pack_array

msgpack: Any = _untyped
# For type checkers these hold they do not know what; to say so by a call of cast costs time.
_MAP: Any = dict
_ARRAY: Any = np.ndarray
#: Entries of a map that is learnt, at most, and bytes beside its arrays' data.
_ENTRIES, _LARGEST = 32, 4096
#: Stands for an array's data, in what there is of it beside: a dtype and a shape.
_HERE = b"an array's data"


class Stencils:
    """Those of one session's messages, which are numbered under the name ``number``. Not thread-safe."""

    def __init__(self, number: str) -> None:
        self._number = number
        self._known: list[_Stencil] = []
        self._pace = Pace()

    def pieces(self, value: Any, number: int) -> list[bytes | memoryview] | None:
        """:meth:`Encoder.pieces` of ``{**value, NAME: number}``; None where nothing that was learnt is like ``value``.

        Then its names are those of one that was learnt, and so is what it says in texts, or does not say.
        """
        if type(value) is not _MAP:
            return None
        names = tuple(value)
        for stencil in self._known:
            if stencil.names == names and (found := stencil.pieces(value, number)) is not None:
                self._pace.fitted += 1
                return found
        return None

    def learn(self, value: Mapping[str, Any]) -> None:
        """``value`` was like nothing that was learnt, and the encoder took it. What comes only once is not learnt."""
        if len(value) < _ENTRIES and self._pace.learns(tuple(value)):
            with contextlib.suppress(_Other):
                self._known = [_Stencil(value, self._number), *self._known[: self._pace.others]]


class _Stencil:
    """A message in parts, some of which differ: these are made of each value anew."""

    __slots__ = ("_images", "_numbers", "_pack", "_parts", "_same", "_small", "names")

    def __init__(self, value: Mapping[str, Any], number: str) -> None:
        """Raises _Other if there is more in it than texts, numbers and arrays as they lie in memory mostly."""
        self.names = tuple(value)
        packer = msgpack.Packer()
        self._pack: Any = packer.pack
        self._parts: list[bytes] = [packer.pack_map_header(len(value) + 1)]
        #: Names of what is always the same, each with that.
        self._same: list[tuple[str, Any]] = []
        #: The others': where their part is, and of what kind they are.
        self._numbers: list[tuple[str, int, Any]] = []
        self._small: list[tuple[str, int, np.dtype[Any], tuple[int, ...], tuple[int, ...]]] = []
        self._images: list[tuple[str, int, np.dtype[Any], tuple[int, ...], tuple[int, ...]]] = []
        for name, held in value.items():
            self._parts[-1] += self._pack(name)
            if type(held) is _ARRAY:
                self._add_array(name, held)
            elif type(held) is int or type(held) is float:
                self._numbers.append((name, len(self._parts), int if type(held) is int else float))
                self._parts += (b"", b"")
            elif held is None or type(held) in (str, bool):
                self._same.append((name, held))
                self._parts[-1] += self._pack(held)
            else:
                raise _Other
        self._parts[-1] += self._pack(number)
        if sum(map(len, self._parts)) > _LARGEST:
            raise _Other

    def _add_array(self, name: str, array: Any) -> None:
        # One object stands for each of numpy's dtypes in the machine's own byte order; others are not compared in time.
        if array.dtype is not np.dtype(array.dtype.str) or not array.flags.c_contiguous or array.nbytes >= 2**32:
            raise _Other
        marker = pack_array(array)
        before, after = self._pack({**marker, b"data": _HERE}).split(self._pack(_HERE))
        self._parts[-1] += before + bytes_header(array.nbytes)
        kept = self._small if array.nbytes < LARGE else self._images
        kept.append((name, len(self._parts), array.dtype, array.shape, array.strides))
        self._parts += (b"", after)

    def pieces(self, value: Mapping[str, Any], number: int) -> list[bytes | memoryview] | None:
        """None for another message than one of these names."""
        parts = [*self._parts, self._pack(number)]
        for name, same in self._same:
            held = value[name]
            if type(held) is not type(same) or held != same:
                return None
        for name, at, kind in self._numbers:
            held = value[name]
            if type(held) is not kind or (kind is int and not -(2**63) <= held < 2**64):
                return None
            parts[at] = self._pack(held)
        for name, at, dtype, shape, strides in self._small:
            held = value[name]
            if type(held) is not _ARRAY or held.dtype is not dtype or held.shape != shape or held.strides != strides:
                return None
            parts[at] = held.tobytes()
        if not self._images:
            return [b"".join(parts)]
        found: list[bytes | memoryview] = []
        begin = 0
        for name, at, dtype, shape, strides in self._images:
            held = value[name]
            if type(held) is not _ARRAY or held.dtype is not dtype or held.shape != shape or held.strides != strides:
                return None
            found += (b"".join(parts[begin:at]), held.data.cast("B"))
            begin = at
        found.append(b"".join(parts[begin:]))
        return found


class _Other(Exception):
    """There is something in the message that no stencil has."""
