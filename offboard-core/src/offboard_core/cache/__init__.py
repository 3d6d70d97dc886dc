"""The folder that keeps what was fetched or made, for the next start: where it is, and who may write into it now."""

from __future__ import annotations

from .alone import PATIENCE, alone, use
from .places import bytes_in, cache_folder

__all__ = ["PATIENCE", "alone", "bytes_in", "cache_folder", "use"]
