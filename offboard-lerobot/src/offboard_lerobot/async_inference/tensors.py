"""The answer of a policy as LeRobot's client unpickles it: a list of TimedAction, each with a tensor of torch's.

Written here byte for byte as Python's pickler and torch write it, of which neither is needed. LeRobot's own server
writes the whole chunk again into each of its actions; here each has its own numbers alone.
"""

from __future__ import annotations

import struct

from offboard_core.types import Array

#: What Python's pickler holds for one frame, and how many entries of a list one instruction adds.
_FRAME, _BATCH = 2**16, 1000
#: torch calls a storage after where it lies in memory; any name will do.
_KEY = "0"
_MEMOIZE, _EMPTY_TUPLE, _TUPLE1, _REDUCE, _BUILD, _FALSE = b"\x94", b")", b"\x85", b"R", b"b", b"\x89"


def write_actions(rows: Array, timestamp: float, period: float, timestep: int, key: str = _KEY) -> bytes:
    """``rows`` (T, D) float32, of which the first is that of ``timestep`` at ``timestamp`` (s), ``period`` s apart.

    ``key``: what each tensor's storage is called.
    """
    writer = _Writer()
    writer.begin()
    writer.write(b"]" + _MEMOIZE)
    writer.known += 1
    for begin in range(0, len(rows), _BATCH):
        batch = range(begin, min(begin + _BATCH, len(rows)))
        if len(rows) > 1:
            writer.write(b"(")
        for step in batch:
            _timed_action(writer, timestamp + step * period, timestep + step, rows[step], key)
        writer.write(b"e" if len(rows) > 1 else b"a")
    return writer.end()


def _timed_action(writer: _Writer, timestamp: float, timestep: int, row: Array, key: str) -> None:
    writer.begin()
    writer.name("lerobot.async_inference.helpers", "TimedAction")
    writer.save(_EMPTY_TUPLE)
    writer.write(b"\x81")
    writer.memoize()
    writer.save(b"}")
    writer.memoize()
    writer.write(b"(")
    writer.text("timestamp")
    writer.save(b"G" + struct.pack(">d", timestamp))
    writer.text("timestep")
    writer.save(_number(timestep))
    writer.text("action")
    _tensor(writer, row, key)
    writer.write(b"u" + _BUILD)


def _tensor(writer: _Writer, row: Array, key: str) -> None:
    writer.begin()
    writer.name("torch._utils", "_rebuild_tensor_v2")
    writer.begin()
    writer.write(b"(")
    writer.begin()
    writer.name("torch.storage", "_load_from_bytes")
    writer.begin()
    data = _storage(row, key)
    writer.save((b"C" + struct.pack("B", len(data)) if len(data) < 256 else b"B" + struct.pack("<I", len(data))) + data)
    writer.memoize()
    writer.write(_TUPLE1)
    writer.memoize()
    writer.write(_REDUCE)
    writer.memoize()
    writer.save(_number(0))
    for sizes in (row.size, 1):
        writer.begin()
        writer.save(_number(sizes))
        writer.write(_TUPLE1)
        writer.memoize()
    writer.save(_FALSE)
    writer.begin()
    writer.name("collections", "OrderedDict")
    writer.save(_EMPTY_TUPLE)
    writer.write(_REDUCE)
    writer.memoize()
    writer.write(b"t")
    writer.memoize()
    writer.write(_REDUCE)
    writer.memoize()


def _storage(row: Array, key: str) -> bytes:
    """A storage on the CPU as ``torch.save`` wrote it before it wrote zip files: five pickles, and the numbers."""
    named = b"X" + struct.pack("<I", len(key)) + key.encode("ascii")
    sizes = b"".join(_entry(f"X{len(n):c}\0\0\0{n}", 5 + i, width) for i, (n, width) in enumerate(_SIZES))
    system = (
        b"\x80\x02}q\0(X\x10\0\0\0protocol_versionq\x01M\xe9\x03X\r\0\0\0little_endianq\x02\x88"
        b"X\n\0\0\0type_sizesq\x03}q\x04(" + sizes + b"uu."
    )
    storage = (
        b"\x80\x02(X\x07\0\0\0storageq\0ctorch\nFloatStorage\nq\x01" + named + b"q\x02X\x03\0\0\0cpuq\x03"
        + _number(row.size) + b"Ntq\x04Q."
    )  # fmt: skip
    keys = b"\x80\x02]q\0" + named + b"q\x01a."
    count = struct.pack("<q", row.size)
    return _MAGIC + system + storage + keys + count + row.astype("<f4").tobytes()


_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
_SIZES = (("short", 2), ("int", 4), ("long", 4))


def _entry(text: str, memo: int, width: int) -> bytes:
    return text.encode("ascii") + b"q" + bytes([memo]) + b"K" + bytes([width])


def _number(value: int) -> bytes:
    """A whole number, 0 or more."""
    if value < 2**8:
        return b"K" + struct.pack("B", value)
    if value < 2**16:
        return b"M" + struct.pack("<H", value)
    if value < 2**31:
        return b"J" + struct.pack("<i", value)
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little")


class _Writer:
    """A pickle of protocol 4 while it is written: its frames, and what it has said already."""

    def __init__(self) -> None:
        self._frames = [b"\x80\x04"]
        self._frame = bytearray()
        self._said: dict[str | tuple[str, str], int] = {}
        #: Values that can be referred to.
        self.known = 0

    def begin(self) -> None:
        """A value begins here, so a frame may end."""
        if len(self._frame) >= _FRAME:
            self._commit()

    def write(self, data: bytes) -> None:
        self._frame += data

    def save(self, data: bytes) -> None:
        """A value that is referred to by nothing."""
        self.begin()
        self.write(data)

    def memoize(self) -> None:
        """The value that was written last can be referred to."""
        self.write(_MEMOIZE)
        self.known += 1

    def text(self, text: str) -> None:
        self.begin()
        if not self._recalled(text):
            self.write(b"\x8c" + struct.pack("B", len(text)) + text.encode("ascii"))
            self._memoize_as(text)

    def name(self, module: str, name: str) -> None:
        self.begin()
        if not self._recalled((module, name)):
            self.text(module)
            self.text(name)
            self.write(b"\x93")
            self._memoize_as((module, name))

    def end(self) -> bytes:
        self.write(b".")
        self._commit()
        return b"".join(self._frames)

    def _recalled(self, what: str | tuple[str, str]) -> bool:
        number = self._said.get(what)
        if number is None:
            return False
        self.write(b"h" + struct.pack("B", number) if number < 256 else b"j" + struct.pack("<I", number))
        return True

    def _memoize_as(self, what: str | tuple[str, str]) -> None:
        self._said[what] = self.known
        self.memoize()

    def _commit(self) -> None:
        self._frames += [b"\x95" + struct.pack("<Q", len(self._frame)), bytes(self._frame)]
        self._frame.clear()
