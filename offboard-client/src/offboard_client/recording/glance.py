"""What a recording says of itself, read without its index: a few kilobytes of a file of any length."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from mcap.opcode import Opcode
from mcap.records import Channel, Header, Metadata, MetadataIndex, Statistics, SummaryOffset
from mcap.stream_reader import StreamReader

from ..errors import RecordingFailed, told
from .broken import BROKEN, damaged
from .described import nothing_of, read_described
from .file import EPISODE, OUTCOME, PROFILE
from .rescue import is_finished
from .scan import FOOTER, HEAD, PLACES, read_profile, read_record

#: What an episode that has no index yet says of itself stands within so many bytes of its beginning.
_BEGINNING = 1 << 20
#: No group of the summary is larger, but for the index itself, which is not read.
_MOST = 1 << 24


@dataclass(frozen=True)
class Glance:
    """``about``, ``outcome``, ``start``, ``end``, ``topics``: as of :class:`Episode`.

    ``finished``: whether the file has its index. Without it there is what was said as the episode began, and no more.
    ``size``: in bytes.
    """

    about: Mapping[str, Any]
    finished: bool
    size: int
    outcome: Mapping[str, Any] = field(default_factory=dict[str, Any])
    start: int = 0
    end: int = 0
    topics: Mapping[str, str] = field(default_factory=dict[str, str])


def glance(path: str | os.PathLike[str]) -> Glance:
    """Look at a recording, also at one that is being written; nothing is locked or finished.

    Raises RecordingFailed, naming what it is instead.
    """
    path = Path(path)
    finished = is_finished(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return _whole(file, size, path.name) if finished else _beginning(file, size, path.name)
    except OSError as error:
        raise RecordingFailed(f"{path.name} cannot be read: {error.strerror or told(error)}") from error
    except BROKEN as error:
        raise damaged(path.name, error) from error


def _whole(file: BinaryIO, size: int, name: str) -> Glance:
    profile = read_profile(file)
    file.seek(size - FOOTER + HEAD.size)
    _, offsets, _ = PLACES.unpack(file.read(PLACES.size))
    groups = {
        each.group_opcode: (each.group_start, each.group_length)
        for each in _records(file, (offsets, size - FOOTER - offsets), Opcode.SUMMARY_OFFSET, SummaryOffset)
    }
    (counted,) = _records(file, groups.get(Opcode.STATISTICS), Opcode.STATISTICS, Statistics) or [None]
    channels = _records(file, groups.get(Opcode.CHANNEL), Opcode.CHANNEL, Channel)
    said: dict[str, Mapping[str, str]] = {}
    for each in _records(file, groups.get(Opcode.METADATA_INDEX), Opcode.METADATA_INDEX, MetadataIndex):
        if each.name in (EPISODE, OUTCOME):
            (found,) = _records(file, (each.offset, each.length), Opcode.METADATA, Metadata)
            said[found.name] = found.metadata
    about, outcome = read_described(name, profile, said, whole=counted is not None)
    return Glance(
        about, True, size, outcome, counted.message_start_time, counted.message_end_time,
        {channel.topic: channel.metadata.get("name", "") for channel in channels},
    )  # fmt: skip


def _beginning(file: BinaryIO, size: int, name: str) -> Glance:
    profile, said = PROFILE, dict[str, Mapping[str, str]]()  # its header may be cut off, too
    try:
        for record in StreamReader(io.BytesIO(file.read(_BEGINNING)), emit_chunks=True).records:
            profile = record.profile if isinstance(record, Header) else profile
            if isinstance(record, Metadata) and record.name == EPISODE:
                said[EPISODE] = record.metadata
                break
    except BROKEN:  # where it ends
        pass
    if not said and profile == PROFILE:
        raise nothing_of(name)
    return Glance(read_described(name, profile, said)[0], False, size)


def _records(file: BinaryIO, place: tuple[int, int] | None, opcode: Opcode, kind: Any) -> list[Any]:
    """The records of this kind at ``place``, an offset and a length."""
    if place is None:
        return []
    offset, length = place
    if not 0 <= length <= _MOST:
        raise ValueError(f"a part of its summary has {length} bytes")
    file.seek(offset)
    end, found = offset + length, list[Any]()
    while file.tell() < end:
        found.append(kind.read(read_record(file, opcode)))
    return found
