"""Questions and answers between a server and its worker: plain data on a socket, arrays in shared memory.

A message is a header (length of what follows, flags, the question's number, bytes of arrays) and msgpack. An array
stands in it as an extension: where it lies, its dtype and its shape. Nothing is unpickled, and nothing is believed: the
header and each extension are read once, into numbers of our own, and checked against the memory whose size is sealed.
"""

from __future__ import annotations

import array
import contextlib
import math
import os
import socket
import struct
import threading
import weakref
from collections.abc import Callable, Generator
from typing import Any, cast

import msgpack as _untyped  # pyright: ignore[reportMissingTypeStubs]
import numpy as np
from offboard_client.memory import ALIGNED, Array, Broken, Incoming, Outgoing

msgpack: Any = _untyped

#: The most bytes of plain data in a question and in an answer.
QUESTION_BYTES, ANSWER_BYTES = 1 << 24, 1 << 20
_DIMENSIONS = 32
#: How deep tuples may lie in tuples: each is a message of its own, and a few hundred use up a thread's stack.
_TUPLES = 16
_HEADER = struct.Struct("<IIQQ")
_PLACE = struct.Struct("<QBB")
_SHAPES = [struct.Struct(f"<{dimensions}Q") for dimensions in range(_DIMENSIONS + 1)]
#: What comes first belongs to this: new memory comes along; the last question's is still in use, so write elsewhere.
_FRESH, _KEPT = 1, 2
_TUPLE, _ARRAY, _SCALAR = 1, 2, 3
_DTYPES: tuple[np.dtype[Any], ...] = tuple(
    map(np.dtype, ("?", "i1", "<i2", "<i4", "<i8", "u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8"))
)
_CODES: dict[Any, int] = {dtype: code for code, dtype in enumerate(_DTYPES)}
_READ = 1 << 16
_ANCILLARY = socket.CMSG_SPACE(16)
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_DTYPE_RULE = "arrays of bool, int, uint and float of 1 to 8 bytes cross to a worker and back"


def check_crosses(value: Any) -> None:
    """Raises TypeError, ValueError or OverflowError for what cannot be told to a worker."""
    with socket.socket() as unused:
        channel = Channel(unused, sends=QUESTION_BYTES, takes=0, copies=True)
        try:
            channel.pack(value)
        finally:
            channel.close()


class Gone(Broken):
    """The other side has closed."""


class Channel:
    """One end. One thread at a time; :meth:`hang_up` and :meth:`close` are for any.

    ``sends``, ``takes``: the most bytes of plain data in one message. ``copies``: whether arrays that arrive are this
    side's own; else they lie where the other side has put them, until :meth:`done`, and cannot be written into.
    """

    def __init__(self, sock: socket.socket, *, sends: int, takes: int, copies: bool) -> None:
        self._socket, self._sends, self._takes, self._copies = sock, sends, takes, copies
        self._writes = copies
        #: Held by who uses the socket: closed under it, its number could be another one's by then.
        self._using = threading.Lock()
        self._out, self._in = Outgoing(), Incoming()
        self._pack: Callable[[Any], bytes] = msgpack.Packer(default=self._special, strict_types=True).pack
        self._buffer = memoryview(bytearray(_READ))
        self._laid: list[tuple[int, Array]] = []
        self._used = self._depth = 0
        self._body = b""
        #: Bytes of arrays that the message which is read brings, and of those that are not accounted for yet.
        self._brought = self._left = 0
        #: Descriptors that came with it.
        self._came: list[int] = []
        self._lease: Array | None = None

    def send(self, number: int, value: Any) -> None:
        """:meth:`pack` and :meth:`write`."""
        self.pack(value)
        self.write(number)

    def pack(self, value: Any) -> None:
        """Make a message of it. Raises TypeError, ValueError or OverflowError for what does not cross.

        Its arrays are copied to where the other side reads: it must have answered what was sent last.
        """
        self._laid, self._used = [], 0
        try:
            self._body = self._pack(value)
            if len(self._body) > self._sends:
                raise ValueError(f"{len(self._body):,} bytes beside the arrays; at most {self._sends:,} cross at once")
            if self._laid:
                self._out.put(self._laid, self._used)
        finally:
            self._laid = []

    def write(self, number: int, *, kept: bool = False) -> None:
        """Send what was packed last. ``kept``: what :meth:`done` said of the last message. Raises Broken."""
        fresh = self._out.fresh
        flags = (_FRESH if fresh >= 0 else 0) | (_KEPT if kept else 0)
        data = _HEADER.pack(len(self._body), flags, number, self._used) + self._body
        try:
            with self._using:
                if fresh < 0:
                    self._socket.sendall(data)
                else:
                    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fresh]))]
                    if (sent := self._socket.sendmsg([data], rights)) < len(data):
                        self._socket.sendall(memoryview(data)[sent:])
                    self._out.sent()
        except OSError as error:
            raise Gone(f"the connection broke: {error.strerror or error}") from None

    def receive(self) -> tuple[int, Any]:
        """The next message: its number and what it says. Raises Broken."""
        data = self._read()
        length, flags, number, used = _HEADER.unpack_from(data)
        data = data[_HEADER.size :]
        if flags & _KEPT:
            self._out.drop()
        if used > self._in.size:
            raise Broken(f"it says that it has written {used:,} bytes of arrays into memory of {self._in.size:,}")
        self._left, self._brought = used, used
        if self._in.map is not None and not self._copies:
            self._lease = np.frombuffer(self._in.map, np.uint8)
        try:
            value = msgpack.unpackb(data, raw=False, strict_map_key=False, ext_hook=self._extension)
        except Broken:
            raise
        except Exception as error:  # whatever msgpack makes of what is none
            raise Broken(f"it sent {length:,} bytes that are no message: {type(error).__name__}: {error}") from None
        return number, value

    def done(self) -> bool:
        """Nobody is to use the arrays of the last message any more; whether somebody holds one nevertheless.

        Then that memory is left to them: the other side has to be told, for it may not write there again.
        """
        lease, self._lease = self._lease, None
        if lease is None:
            return False
        # Each array, and each view of one, holds it.
        held = weakref.ref(lease)
        del lease
        if held() is None:
            return False
        self._in.drop()
        self._copies = True  # who keeps one keeps the next: from now on they get their own
        return True

    def hang_up(self) -> None:
        """End it; who waits for a message is told. From any thread."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of everything."""
        self.hang_up()
        with self._using:  # who waits in it has been told
            self._socket.close()
        self._out.drop()
        self._in.drop()

    # -- reading ------------------------------------------------------------------------------------------------
    def _read(self) -> memoryview:
        """One whole message; its memory, if it brings some, is mapped."""
        buffer, filled = self._buffer, 0
        try:
            while filled < _HEADER.size:
                filled += self._some(buffer[filled:])
            length, flags, _, _ = _HEADER.unpack_from(buffer)
            if length > self._takes:
                raise Broken(f"it announces {length:,} bytes of plain data; expected at most {self._takes:,}")
            if flags & ~(_FRESH | _KEPT):
                raise Broken(f"it sets flags that mean nothing ({flags})")
            whole = _HEADER.size + length
            if filled > whole:
                raise Broken("it says more than it was asked")
            if whole > len(buffer):
                larger = memoryview(bytearray(whole))
                larger[:filled] = buffer[:filled]
                buffer = larger
            while filled < whole:
                filled += self._some(buffer[filled:whole])
            if self._came or flags & _FRESH:
                if len(self._came) != 1 or not flags & _FRESH:
                    raise Broken(f"it passes {len(self._came)} descriptors, which is not what it announces")
                self._in.take(self._came.pop())
        except OSError as error:
            raise Gone(f"the connection broke: {error.strerror or error}") from None
        finally:
            while self._came:
                os.close(self._came.pop())
        return buffer[:whole]

    def _some(self, into: memoryview) -> int:
        with self._using:
            got, ancillary, _, _ = self._socket.recvmsg_into([into], _ANCILLARY, _CLOEXEC)
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._came += array.array("i", data[: len(data) - len(data) % 4])
        if not got:
            raise Gone("it hung up")
        return got

    def _extension(self, code: int, data: bytes) -> Any:
        if code == _TUPLE:
            with self._deeper():
                return tuple(msgpack.unpackb(data, raw=False, strict_map_key=False, ext_hook=self._extension))
        if code == _SCALAR:
            dtype = _DTYPES[data[0]]
            return np.frombuffer(data, dtype, 1, 1)[0]
        if code != _ARRAY:
            raise Broken(f"it sends an extension of the unknown kind {code}")
        place: tuple[int, int, int] = _PLACE.unpack_from(data)
        offset, kind, dimensions = place
        if kind >= len(_DTYPES) or dimensions > _DIMENSIONS or len(data) != _PLACE.size + 8 * dimensions:
            raise Broken("it describes an array that cannot be")
        dtype = _DTYPES[kind]
        shape: tuple[int, ...] = _SHAPES[dimensions].unpack_from(data, _PLACE.size)
        size: int = math.prod(shape) * dtype.itemsize
        self._left -= size
        # The sum too: a thousand arrays that lie in one place would be a thousand copies.
        if offset + size > self._brought or self._left < 0:
            raise Broken(f"it describes an array of shape {shape} at {offset:,} of {self._brought:,} bytes")
        if not size:
            return np.zeros(shape, dtype)
        found = np.ndarray(shape, dtype, self._in.map if self._lease is None else self._lease, offset)
        if self._copies:
            found = found.copy()
            found.flags.writeable = self._writes
        return found

    @contextlib.contextmanager
    def _deeper(self) -> Generator[None]:
        if self._depth >= _TUPLES:
            raise ValueError(f"tuples lie more than {_TUPLES} deep in each other")
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    # -- writing ------------------------------------------------------------------------------------------------
    def _special(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self._place(cast("Array", value))
        if isinstance(value, str):  # numpy's own texts, too
            return str(value)
        if isinstance(value, bytes):
            return bytes(value)
        if isinstance(value, np.generic):
            number: Array = np.asarray(cast("Any", value))
            if number.dtype not in _CODES:
                raise TypeError(f"a number of dtype {number.dtype}; {_DTYPE_RULE}")
            return msgpack.ExtType(_SCALAR, bytes([_CODES[number.dtype]]) + number.tobytes())
        if isinstance(value, tuple):
            with self._deeper():
                data = msgpack.packb(list(cast("Any", value)), default=self._special, strict_types=True)
            return msgpack.ExtType(_TUPLE, data)
        # Subclasses are told as what they are of.
        plain: Any
        for plain in (dict, list, bool, int, float):
            if isinstance(value, plain):
                return plain(value)
        if hasattr(value, "keys") and hasattr(value, "__getitem__"):
            return dict(value)
        raise TypeError(f"a {type(value).__module__}.{type(value).__qualname__}; plain data crosses, and {_DTYPE_RULE}")

    def _place(self, found: Array) -> Any:
        dtype = found.dtype.newbyteorder("<") if found.dtype.byteorder == ">" else found.dtype
        code = _CODES.get(dtype)
        if code is None:
            raise TypeError(f"an array of dtype {found.dtype}; {_DTYPE_RULE}")
        if found.ndim > _DIMENSIONS:
            raise TypeError(f"an array of {found.ndim} dimensions; at most {_DIMENSIONS} cross")
        if found.dtype != dtype:
            found = found.astype(dtype)
        offset = -(-self._used // ALIGNED) * ALIGNED if found.nbytes else 0
        if found.nbytes:
            self._laid.append((offset, found))
            self._used = offset + found.nbytes
        place = _PLACE.pack(offset, code, found.ndim) + _SHAPES[found.ndim].pack(*found.shape)
        return msgpack.ExtType(_ARRAY, place)


__all__ = ["ANSWER_BYTES", "QUESTION_BYTES", "Channel", "Gone", "check_crosses"]
