"""numpy arrays in msgpack, in the envelope that openpi and Positronic share, as a plain implementation has it.

It stands for those projects' own serialization in ``ws_msgpack`` and decides how many bytes the two limits
exchange. It trusts its input, as theirs does: for measuring only.
"""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
from workloads import CHUNK


def _array_to_map(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    raise TypeError(f"{type(value).__name__} has no place in an observation")


def _map_to_array(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" in value:
        return np.frombuffer(value[b"data"], value[b"dtype"]).reshape(value[b"shape"])
    return value


_PACKER = msgpack.Packer(default=_array_to_map)


def pack(value: Any) -> bytes:
    """A message of plain data and arrays."""
    return _PACKER.pack(value)


def unpack(message: bytes | bytearray | memoryview) -> Any:
    """What :func:`pack` was given, arrays as read-only views of their bytes."""
    return msgpack.unpackb(message, object_hook=_map_to_array)


#: The answer of a policy as bytes.
ANSWER = pack({"actions": CHUNK})
