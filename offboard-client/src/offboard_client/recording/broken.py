"""What the libraries raise where a file was cut off, or holds what nobody wrote."""

from __future__ import annotations

import struct

import zstandard
from mcap.exceptions import McapError

BROKEN = (McapError, EOFError, ValueError, KeyError, IndexError, struct.error, zstandard.ZstdError)
