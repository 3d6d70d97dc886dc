"""Where checkpoints are found: folders, registries, and stores on the network."""

from __future__ import annotations

from .places import LocalPlace, Place
from .reading import INDEX, WEIGHTS, Incomplete, Unfit, header, read_json, some, weights
from .record import check_record, read_record, write_record
from .registries import (
    RECENTLY,
    EnrichedRegistry,
    MemoryRegistry,
    check_listed,
    check_unchanged,
    is_lfs_pointer,
    nearby,
    not_there,
    numbered_folders,
    stamps,
    still_written,
    what_is_there,
)
from .runs import begin_run, make_folder, throw_away

__all__ = [
    "EnrichedRegistry",
    "INDEX",
    "Incomplete",
    "LocalPlace",
    "MemoryRegistry",
    "Place",
    "RECENTLY",
    "Unfit",
    "WEIGHTS",
    "begin_run",
    "check_listed",
    "check_record",
    "check_unchanged",
    "header",
    "is_lfs_pointer",
    "make_folder",
    "nearby",
    "not_there",
    "numbered_folders",
    "read_json",
    "read_record",
    "some",
    "stamps",
    "still_written",
    "throw_away",
    "weights",
    "what_is_there",
    "write_record",
]
