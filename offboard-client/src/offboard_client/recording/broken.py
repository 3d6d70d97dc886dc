"""What the libraries raise where a file was cut off, or holds what nobody wrote."""

from __future__ import annotations

import struct

import zstandard
from google.protobuf.message import DecodeError
from mcap.exceptions import McapError

#: MemoryError: a length that nobody wrote. RecursionError: JSON as deep as nobody writes it.
BROKEN = (
    McapError, EOFError, ValueError, LookupError, OverflowError, MemoryError, RecursionError, struct.error,
    zstandard.ZstdError, DecodeError,
)  # fmt: skip
