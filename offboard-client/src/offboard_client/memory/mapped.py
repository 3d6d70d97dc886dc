"""Memory that two processes share: one writes arrays into it, the other reads them.

On Linux it is a memfd whose size is sealed, so that whoever maps it can never fault on what the other cut off.
Elsewhere it is a file without a name.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows, where nobody asks for such memory
    fcntl = None

Array = NDArray[Any]

#: The most that one side may have the other map.
LARGEST = 1 << 30
_SMALLEST = 1 << 16
#: Where arrays begin: at a cache line, which suits every dtype.
ALIGNED = 64
# By Linux's numbers: a Python that was built for an old glibc, as uv's and conda's are, has neither these names nor
# os.memfd_create, and still has to get on with one that does.
_CLOEXEC, _ALLOW_SEALING = 1, 2
_ADD_SEALS, _GET_SEALS = 1033, 1034
_SEAL_SEAL, _SEAL_SHRINK, _SEAL_GROW = 1, 2, 4
_memfd_create: Any = (
    getattr(ctypes.CDLL(None, use_errno=True), "memfd_create", None) if sys.platform == "linux" else None
)
_SEALS = _SEAL_SHRINK | _SEAL_GROW | _SEAL_SEAL if _memfd_create is not None else 0
#: Whether it is so here: else nobody's memory can be taken who is not trusted.
SEALED = bool(_SEALS)


class Broken(Exception):
    """The other side sent what it may not, or is gone: nothing that it says can be used any more."""


class Outgoing:
    """Where this side puts arrays. :attr:`fresh` is a descriptor that the other side has not got yet, or -1."""

    def __init__(self) -> None:
        self.fresh = -1
        self.size = 0
        self._map: mmap.mmap | None = None

    def put(self, arrays: Sequence[tuple[int, Array]], used: int) -> None:
        """Copy arrays to their offsets; ``used``: the end of the last one. Raises ValueError where it is too much."""
        if used > self.size:
            self._grow(used)
        for offset, array in arrays:
            np.ndarray(array.shape, array.dtype, self._map, offset)[...] = array

    def reserve(self, size: int) -> None:
        """Have room for so many bytes; of the system's memory they take what is written to."""
        if size > self.size:
            self._grow(size)

    def lay(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Copy pieces one behind the other, from the beginning. There is room for them."""
        memory, at = self._map, 0
        assert memory is not None
        for piece in pieces:
            end = at + len(piece)
            memory[at:end] = piece
            at = end

    def sent(self) -> None:
        """The other side has the descriptor."""
        if self.fresh >= 0:
            os.close(self.fresh)
            self.fresh = -1

    def drop(self) -> None:
        """Never write there again: what is put next lies elsewhere. Also the end."""
        self.sent()
        self._map, self.size = None, 0

    def _grow(self, used: int) -> None:
        if used > LARGEST:
            raise ValueError(f"{used:,} bytes of arrays; at most {LARGEST:,} cross at once")
        self.drop()
        size = max(_SMALLEST, 1 << (used - 1).bit_length())
        fd = _make(size)
        try:
            self._map = mmap.mmap(fd, size)
        except BaseException:
            os.close(fd)
            raise
        self.fresh, self.size = fd, size


class Incoming:
    """Where the other side puts arrays."""

    def __init__(self) -> None:
        self.size = 0
        self.map: mmap.mmap | None = None

    def take(self, fd: int) -> None:
        """Read from this descriptor from now on. Raises Broken if it is none whose size stays."""
        try:
            if _SEALS and fcntl.fcntl(fd, _GET_SEALS) & _SEALS != _SEALS:
                raise Broken("its memory is not sealed, and could be cut off while it is read")
            size = os.fstat(fd).st_size  # which stays, from here on
            if _SEALS and os.fstatvfs(fd).f_bsize > mmap.PAGESIZE:
                raise Broken("its memory is of huge pages: where the system has no more of them, reading kills")
            if not 0 < size <= LARGEST:
                raise Broken(f"its memory has {size:,} bytes; expected 1 to {LARGEST:,}")
            self.map, self.size = mmap.mmap(fd, size, prot=mmap.PROT_READ), size
        except OSError as error:
            raise Broken(f"what it passed is no memory: {error.strerror}") from None
        finally:
            os.close(fd)

    def drop(self) -> None:
        """Let go of it; arrays that lie there keep it for as long as they live."""
        self.map, self.size = None, 0


def _make(size: int) -> int:
    if not _SEALS:
        with tempfile.TemporaryFile() as file:
            os.ftruncate(file.fileno(), size)
            return os.dup(file.fileno())
    if (fd := _memfd_create(b"offboard", _CLOEXEC | _ALLOW_SEALING)) < 0:
        raise OSError(number := ctypes.get_errno(), os.strerror(number))
    try:
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, _ADD_SEALS, _SEALS)
    except BaseException:
        os.close(fd)
        raise
    return fd


__all__ = ["ALIGNED", "LARGEST", "SEALED", "Array", "Broken", "Incoming", "Outgoing"]
