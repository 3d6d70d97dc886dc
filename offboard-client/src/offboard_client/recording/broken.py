"""What the libraries raise where a file was cut off, or holds what nobody wrote."""

from __future__ import annotations

import struct

import zstandard
from google.protobuf.message import DecodeError
from mcap.exceptions import McapError

from ..errors import RecordingFailed, told

#: MemoryError: a length that nobody wrote. RecursionError: JSON as deep as nobody writes it.
BROKEN = (
    McapError, EOFError, ValueError, LookupError, OverflowError, MemoryError, RecursionError, struct.error,
    zstandard.ZstdError, DecodeError,
)  # fmt: skip


def damaged(name: str, error: Exception) -> RecordingFailed:
    """One of these as ours; what was said here stands for itself."""
    return RecordingFailed(f"{name} is damaged: {str(error) if type(error) is ValueError else told(error)}")
