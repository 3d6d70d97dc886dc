"""Where checkpoints are found: folders, registries, and stores on the network."""

from __future__ import annotations

from .record import check_record, read_record, write_record
from .registries import (
    RECENTLY,
    EnrichedRegistry,
    MemoryRegistry,
    is_lfs_pointer,
    nearby,
    not_there,
    numbered_folders,
    stamps,
    still_written,
    what_is_there,
)

__all__ = [
    "RECENTLY",
    "EnrichedRegistry",
    "MemoryRegistry",
    "check_record",
    "is_lfs_pointer",
    "nearby",
    "not_there",
    "numbered_folders",
    "read_record",
    "stamps",
    "still_written",
    "what_is_there",
    "write_record",
]
