"""The binary encoding: msgpack, with numpy arrays and scalars as marker maps.

An array is ``{b"__ndarray__": True, b"data": C-order bytes, b"dtype": "<f4", b"shape": [..]}``, a numpy
scalar ``{b"__npgeneric__": True, b"data": number, b"dtype": "|u1"}``: the form that openpi and Positronic
write. The same maps with str keys (vLLM-Omni, vla-eval) and Positronic's ``__jpeg__`` are read as well.

Decoding is an allow-list. What a peer may not send is refused before memory is spent on it, always as
:class:`~offboard_client.errors.kinds.BadMessage`: a dtype of ``|O`` would otherwise be read as pointers, and
16 MiB of empty maps would become a gigabyte of dicts.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, cast

import msgpack as _untyped  # pyright: ignore[reportMissingTypeStubs]
import numpy as np

from ..errors import BadMessage
from ..memory import referred
from .arrays import DTYPE_RULE, DTYPES, Array, array_from, jpeg_from, scalar_from
from .limits import DEFAULT_LIMITS, ImageBudget, WireLimits, twice

msgpack: Any = _untyped
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
#: Bytes from which on an array is not copied into a message: the fixed price of numpy's calls, tens of microseconds
#: where their code is cold, is less than that of a copy.
LARGE = 16384
#: What a frame may be read from.
Buffer = bytes | bytearray | memoryview

# -- encoding --------------------------------------------------------------------------------------------


def encode(value: Any) -> bytes:
    """``value`` as one binary frame.

    Takes None, bool, int, float, str, bytes, numpy arrays and scalars of bool, int, uint or float dtype,
    and lists, tuples and mappings (str or bytes keys) of these. Anything else is a BadMessage that names
    where in ``value`` it stands.
    """
    try:
        return msgpack.packb(value, default=_pack_special)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _refused(value, error) from None


class Encoder:
    """:func:`encode` into a buffer that is kept from one message to the next. Not thread-safe.

    A message of camera images takes less than half of :func:`encode`'s time, because nothing is allocated
    and nothing is copied out; as :meth:`pieces` next to none, because they are not copied at all.
    """

    def __init__(self) -> None:
        self._packer: Any = None
        self._around = msgpack.Packer(default=self._lay_aside)
        self._aside: list[memoryview] = []
        # Stands for an array that was laid aside. Nobody else knows it, so that nothing else is taken for it.
        self._mark = secrets.token_bytes(16)
        self._packed_mark = msgpack.packb(self._mark)

    def encode(self, value: Any) -> memoryview:
        """``value`` as one binary frame. Release the view before the next call; see :func:`encode` for errors."""
        if self._packer is None:
            self._packer = msgpack.Packer(default=_pack_special, autoreset=False)
        self._packer.reset()
        try:
            self._packer.pack(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise _refused(value, error) from None
        return memoryview(self._packer.getbuffer())

    def pieces(self, value: Any) -> list[bytes | memoryview]:
        """The same frame in pieces, to be sent one after the other; of these large arrays are their own memory.

        Raises what :func:`encode` raises.
        """
        self._aside.clear()
        try:
            around: bytes = self._around.pack(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise _refused(value, error) from None
        if not self._aside:
            return [around]
        found: list[bytes | memoryview] = []
        before, *others = around.split(self._packed_mark)
        for array, after in zip(self._aside, others, strict=True):
            found += (before + bytes_header(len(array)), array)
            before = after
        found.append(before)
        self._aside.clear()
        return found

    def whole(self, value: Any) -> bytes:
        """The same frame as one, of which only what is small is kept. Raises what :func:`encode` raises."""
        return b"".join(self.pieces(value))

    def _lay_aside(self, value: Any) -> Any:
        if type(value) is not np.ndarray:
            return _pack_special(value)
        marker = pack_array(value)
        size = value.nbytes
        if size < LARGE or size >= 2**32:  # more is too much for msgpack, and it says so
            return marker
        data: memoryview = marker[b"data"]
        try:
            self._aside.append(data.cast("B"))
        except TypeError:  # numbers in the other byte order
            self._aside.append(np.frombuffer(data, np.uint8).data)
        marker[b"data"] = self._mark
        return marker


def bytes_header(size: int) -> bytes:
    """What msgpack writes before so many bytes."""
    if size < 2**8:
        return b"\xc4" + size.to_bytes(1, "big")
    return b"\xc5" + size.to_bytes(2, "big") if size < 2**16 else b"\xc6" + size.to_bytes(4, "big")


def _pack_special(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return pack_array(cast("Array", value))
    if isinstance(value, np.generic):
        scalar = cast("np.generic[Any]", value)
        return {b"__npgeneric__": True, b"data": scalar.item(), b"dtype": _wire_dtype(scalar.dtype)}
    if isinstance(value, Mapping):
        return dict(cast("Mapping[Any, Any]", value))
    if isinstance(value, int):
        raise TypeError("whole numbers on the wire have at most 64 bits")
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    # A torch tensor, a Pillow image: not converted here, because that may copy from a GPU, or guess a layout.
    if hasattr(value, "__array__") or hasattr(value, "__array_interface__"):
        raise TypeError(f"{kind} has no form on the wire; send a numpy array: np.asarray of it, .cpu() before")
    raise TypeError(
        f"{kind} has no form on the wire; there are: None, bool, int, float, str, bytes, numpy arrays and scalars, and "
        "lists and maps of these"
    )


def pack_array(array: Array) -> dict[bytes, Any]:
    """The map that stands for it; its data is its own memory where that can be. Raises TypeError."""
    if type(array) is not np.ndarray:
        if isinstance(array, np.ma.MaskedArray):
            raise TypeError("a masked array would lose its mask; send array.filled(value)")
        array = np.asarray(array)
    dtype = _NAMES.get(array.dtype) or _wire_dtype(array.dtype)
    # The view spares the copy that tobytes() would make: the packer reads the array's own memory.
    data = array.data
    if not data.c_contiguous:
        data = np.ascontiguousarray(array).data
    return {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": array.shape}


def _wire_dtype(dtype: np.dtype[Any]) -> str:
    if dtype.str not in DTYPES:
        raise TypeError(f"dtype {dtype} has no form on the wire: {DTYPE_RULE}")
    return dtype.str


def _refused(value: Any, error: Exception) -> BadMessage:
    if isinstance(error, RecursionError) or "recursion" in str(error):
        return BadMessage("cannot encode this value: it is nested too deeply, or contains itself")
    where = _find_unencodable(value, "value", 0)
    return BadMessage(f"cannot encode {where or 'value'}: {error}")


def _find_unencodable(value: Any, path: str, depth: int) -> str | None:
    """Where the first part of ``value`` that does not encode stands, as one would write it in Python."""
    if depth > 16:
        return path
    if isinstance(value, Mapping):
        parts = [(f"{path}[{key!r}]", part) for key, part in cast("Mapping[Any, Any]", value).items()]
    elif isinstance(value, list | tuple):
        parts = [(f"{path}[{i}]", part) for i, part in enumerate(cast("list[Any]", value))]
    else:
        try:
            msgpack.packb(value, default=_pack_special)
        except (TypeError, ValueError, OverflowError):
            return path
        return None
    return next((found for at, part in parts if (found := _find_unencodable(part, at, depth + 1))), None)


# -- decoding --------------------------------------------------------------------------------------------


def decode(data: Buffer, limits: WireLimits = DEFAULT_LIMITS, budget: ImageBudget | None = None) -> Any:
    """The value of one binary frame. Arrays keep their byte order and are read-only.

    ``budget``: what its images may come to, where the caller goes on to decode others of the same message.
    Raises BadMessage for everything a peer must not send, and nothing else.
    """
    return _unpack(data, limits, _Decoder(limits, budget or ImageBudget(limits.image_pixels)))


def decode_plain(data: Buffer, limits: WireLimits = DEFAULT_LIMITS) -> Any:
    """:func:`decode` for those who must not wait: markers stay maps, and no array or image is made of them."""
    return _unpack(data, limits, _Decoder(limits, None))


def _unpack(data: Buffer, limits: WireLimits, decoder: _Decoder) -> Any:
    size = data.nbytes if isinstance(data, memoryview) else len(data)
    limits.check_size(size)
    try:
        value = msgpack.unpackb(
            data,
            object_pairs_hook=decoder.map,
            list_hook=decoder.list,
            ext_hook=_refuse_extension,
            max_ext_len=0,
            max_array_len=min(size, limits.list_length),
            max_map_len=min(size, limits.map_keys),
        )
    except msgpack.ExtraData:
        raise BadMessage("bytes follow the end of the message: send one msgpack value per frame") from None
    except UnicodeDecodeError as error:
        raise BadMessage(f"a string is not UTF-8 ({error.reason}): send bytes as msgpack bin") from None
    except msgpack.StackError:
        raise limits.too_deep() from None
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise BadMessage(_unpack_fault(str(error), limits, data)) from None
    # A value of so few containers cannot be too deep: most messages are never walked.
    if decoder.containers > limits.depth:
        limits.check_depth(value)
    return value


class _Decoder:
    """The hooks of one call of :func:`decode`: they count what was built, and turn markers into arrays.

    ``images`` None: markers stay maps.
    """

    __slots__ = ("_images", "_left", "_limits", "containers")

    def __init__(self, limits: WireLimits, images: ImageBudget | None) -> None:
        self._limits = limits
        self._left = limits.elements
        self._images = images
        self.containers = 0

    # These are called for each container of a message; a function between them and their work would be felt.
    def list(self, items: list[Any]) -> list[Any]:
        self.containers += 1
        self._left -= len(items) + 1
        if self._left < 0:
            raise self._limits.too_many()
        return items

    def map(self, pairs: list[tuple[str | bytes, Any]]) -> Any:
        self.containers += 1
        self._left -= len(pairs) + 1
        if self._left < 0:
            raise self._limits.too_many()
        found = dict(pairs)
        if len(found) != len(pairs):
            raise twice(pairs)
        # A marker is a small map; plain maps mostly are not.
        if len(pairs) <= 4 and self._images is not None:
            if b"__ndarray__" in found:
                return array_from(found, binary=True)
            if b"__npgeneric__" in found:
                return scalar_from(found, binary=True)
            if "__ndarray__" in found:
                return array_from(found, binary=False)
            if "__npgeneric__" in found:
                return scalar_from(found, binary=False)
            if b"__jpeg__" in found or "__jpeg__" in found:
                return jpeg_from(found, b"__jpeg__" in found, self._images)
        return found


def _refuse_extension(code: int, data: bytes) -> Any:
    raise BadMessage(f"msgpack extension type {code} is refused: send plain values and numpy arrays")


def _unpack_fault(text: str, limits: WireLimits, data: Buffer) -> str:
    if referred(memoryview(data)) is not None:
        return (
            "the message lies in shared memory, it says, and there this session has none, or less than that, or it "
            "came before the answer to the last one"
        )
    if "max_array_len" in text:
        return f"a list has more than {limits.list_length:,} entries, or than the message can hold: send it as an array"
    if "max_map_len" in text:
        return f"a map has more than {limits.map_keys:,} entries, or than the message can hold"
    if "max_ext_len" in text:
        return "msgpack extension types and timestamps are refused: send times as numbers"
    if "map key" in text:
        return f"a map key must be a string ({text})"
    if "incomplete" in text:
        return "the message ends before its value does: it was cut short"
    return f"the frame is not a msgpack message ({text or 'invalid byte'})"


__all__ = ["LARGE", "Array", "Buffer", "Encoder", "ImageBudget", "WireLimits", "decode", "decode_plain", "encode"]
