"""An MCAP file's contents: by its index, or where it has none by going from record to record."""

from __future__ import annotations

import io
import struct
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, ChunkIndex, Header, Metadata, MetadataIndex, Schema, Statistics
from mcap.stream_reader import StreamReader
from mcap.summary import Summary

from .blocks import LARGEST, read_chunk
from .broken import BROKEN
from .file import PROFILE

MAGIC = b"\x89MCAP0\r\n"
#: A record's kind and its length, with which it begins.
HEAD = struct.Struct("<BQ")
#: A footer, with its kind and its length, and the magic: in it stand where the summary is, and its checksum.
FOOTER, PLACES = 37, struct.Struct("<QQI")
#: No record but a chunk is larger, and no index, in bytes.
_MOST, _INDEX = 1 << 24, 1 << 28
#: What an index has.
_INDEXED = frozenset((
    Opcode.SCHEMA, Opcode.CHANNEL, Opcode.STATISTICS, Opcode.CHUNK_INDEX, Opcode.METADATA_INDEX, Opcode.SUMMARY_OFFSET,
    Opcode.FOOTER,
))  # fmt: skip
#: Start and end time, size unpacked, checksum, and the length of the compression's name.
_CHUNK, _LENGTH = struct.Struct("<QQQII"), struct.Struct("<Q")
#: Channel, and the length of what follows: 16 bytes a message.
_MESSAGES = struct.Struct("<HI")
_MESSAGE = struct.Struct("<HIQQ")
#: So many zeros in a row are a hole, in bytes.
_HOLE = 32


@dataclass
class Contents:
    """``profile``, ``said`` (its metadata by their names), ``summary``: as in the file, or as its index would have it.

    ``end``: of a file without its index, where what was written whole ends. ``late``: channel → time and place of each
    message of the last chunk, whose own list of them was cut off; it is written anew, from ``end`` on. ``lost``: how
    many bytes behind that cannot be read, for there is a hole before them.
    """

    profile: str
    summary: Summary
    said: dict[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])
    end: int = 0
    late: dict[int, list[tuple[int, int]]] = field(default_factory=dict[int, list[tuple[int, int]]])
    lost: int = 0


def read_profile(file: BinaryIO) -> str:
    """What its header says it follows. Raises what is in BROKEN."""
    file.seek(len(MAGIC))
    return Header.read(read_record(file, Opcode.HEADER)).profile


def read_record(file: BinaryIO, opcode: Opcode) -> ReadDataStream:
    """What is in the record of this kind that begins where the file stands. Raises what is in BROKEN."""
    kind, length = HEAD.unpack(file.read(HEAD.size))
    if kind != opcode or length > _MOST:
        raise ValueError(f"there is a record of kind {kind} and {length} bytes where kind {int(opcode)} was expected")
    return ReadDataStream(io.BytesIO(file.read(length)))


def read_index(file: BinaryIO, size: int) -> Contents:
    """By its index, which is checked. Raises what is in BROKEN."""
    found = Contents(read_profile(file), Summary())
    file.seek(size - FOOTER)
    footer = file.read()
    start, _, checksum = PLACES.unpack_from(footer, HEAD.size)
    if not start:  # it has no summary
        return found
    if not 0 <= size - FOOTER - start <= _INDEX:
        raise ValueError(f"its index begins at byte {start} of {size}")
    file.seek(start)
    index = file.read(size - FOOTER - start)
    if checksum and zlib.crc32(index + footer[: HEAD.size + 16]) != checksum:
        raise ValueError("its index is not what was written: its checksum differs")
    for record in StreamReader(io.BytesIO(index + footer), skip_magic=True).records:
        _keep(found.summary, record)
    for place in found.summary.metadata_indexes:
        file.seek(place.offset)
        record = Metadata.read(read_record(file, Opcode.METADATA))
        found.said[record.name] = record.metadata
    return found


def scan(file: BinaryIO, size: int) -> Contents:
    """Of a recording that has no index, to where it ends; of another's file no more than the profile.

    Chunks are stepped over, not read, but for those that tell what is in the others. Raises what is in BROKEN where
    there is what no recorder writes: a record that was cut off is where it ends, and so are zeros. A machine that lost
    its power may have written what is behind them: that is lost.
    """
    found = Contents(read_profile(file), Summary())
    if found.profile != PROFILE:
        return found
    counts, at = Counter[int](), file.tell()
    while size - at >= HEAD.size:
        try:
            after = _take(found, file, at, size, counts)
        except BROKEN:
            if not _hole(file, at):
                raise
            found.lost = size - at
            break
        if after is None:
            break
        at = after
    found.end = at
    _learn(found, file, counts)
    found.lost = found.lost and size - found.end
    _count(found, counts)
    return found


# -- inside --------------------------------------------------------------------------------------------
def _keep(summary: Summary, record: Any) -> None:
    if isinstance(record, Schema):
        summary.schemas[record.id] = record
    elif isinstance(record, Channel):
        summary.channels[record.id] = record
    elif isinstance(record, ChunkIndex):
        summary.chunk_indexes.append(record)
    elif isinstance(record, MetadataIndex):
        summary.metadata_indexes.append(record)
    elif isinstance(record, Statistics):
        summary.statistics = record


def _take(found: Contents, file: BinaryIO, at: int, size: int, counts: Counter[int]) -> int | None:
    """Where the record ends that begins there; None if it was cut off, or is the last. Raises ValueError for others."""
    file.seek(at)
    kind, length = HEAD.unpack(file.read(HEAD.size))
    after = at + HEAD.size + length
    if kind == Opcode.DATA_END:
        _check_rest(file, after, size)
        return None
    if kind not in (Opcode.CHUNK, Opcode.MESSAGE_INDEX, Opcode.METADATA) or length > LARGEST:
        if _zeros(file, at):
            return None
        raise ValueError(f"at byte {at} there is what no recorder writes")
    chunk = read_block_head(file, at, length) if kind == Opcode.CHUNK else None
    if after > size:
        return None
    if chunk is not None:
        found.summary.chunk_indexes.append(chunk)
    elif kind == Opcode.MESSAGE_INDEX:
        _list(found.summary.chunk_indexes[-1], file, at, length, counts)
    else:
        file.seek(at)
        record = Metadata.read(read_record(file, Opcode.METADATA))
        found.said[record.name] = record.metadata
        found.summary.metadata_indexes.append(MetadataIndex(at, after - at, record.name))
    return after


def _hole(file: BinaryIO, at: int) -> bool:
    """Whether a hole begins there, or soon after: as many zeros as stand in no head of a record."""
    file.seek(at)
    return bytes(_HOLE) in file.read(8 * _HOLE)


def _zeros(file: BinaryIO, at: int) -> bool:
    """Whether there is nothing else from there on: a file grew, and the machine ended before it was filled."""
    file.seek(at)
    while piece := file.read(1 << 20):
        if any(piece):
            return False
    return True


def _check_rest(file: BinaryIO, at: int, size: int) -> None:
    """What stands behind what was recorded is a part of an index, and nothing that anybody could miss."""
    while size - at >= HEAD.size:
        file.seek(at)
        kind, length = HEAD.unpack(file.read(HEAD.size))
        if kind not in _INDEXED or (kind == Opcode.FOOTER and size - at > FOOTER):
            if _zeros(file, at):
                return
            raise ValueError(f"at byte {at}, behind its end, there is what no recorder writes")
        at += HEAD.size + length


def read_block_head(file: BinaryIO, at: int, length: int) -> ChunkIndex | None:
    """What a block of so many bytes says of itself, where its kind and length end that begin ``at``; None where it ends
    before. Raises what is in BROKEN."""
    head = file.read(_CHUNK.size + 32)
    if len(head) < _CHUNK.size:
        return None
    start, end, size, _, named = _CHUNK.unpack_from(head)
    if named > 16:
        raise ValueError(f"at byte {at} there is a chunk whose compression has a name of {named} bytes")
    if len(head) < (begins := _CHUNK.size + named + _LENGTH.size):
        return None
    compression = head[_CHUNK.size : _CHUNK.size + named].decode("ascii")
    (packed,) = _LENGTH.unpack_from(head, _CHUNK.size + named)
    if begins + packed != length:
        raise ValueError(f"at byte {at} there is a chunk of {length} bytes that says {begins + packed}")
    return ChunkIndex(HEAD.size + length, at, compression, packed, end, 0, {}, start, size)


def _list(chunk: ChunkIndex, file: BinaryIO, at: int, length: int, counts: Counter[int]) -> None:
    """A chunk's list of one channel's messages."""
    channel, size = _MESSAGES.unpack(file.read(_MESSAGES.size))
    if _MESSAGES.size + size != length:
        raise ValueError(f"at byte {at} there is a list of messages of {length} bytes that says {size}")
    chunk.message_index_offsets[channel] = at
    chunk.message_index_length += HEAD.size + length
    counts[channel] += size // 16


def _learn(found: Contents, file: BinaryIO, counts: Counter[int]) -> None:
    """What the channels are, of those chunks that say so; and all of the last one's messages."""
    summary = found.summary
    for chunk in summary.chunk_indexes[:-1]:
        if not chunk.message_index_offsets.keys() <= summary.channels.keys():
            unpack_block(summary, file, chunk)
    if not summary.chunk_indexes:
        return
    while found.lost and summary.chunk_indexes and not _whole(file, summary.chunk_indexes[-1]):
        last = summary.chunk_indexes.pop()  # the hole begins in it
        found.end = last.chunk_start_offset
        for channel, place in last.message_index_offsets.items():
            file.seek(place)
            counts[channel] -= (HEAD.unpack(file.read(HEAD.size))[1] - _MESSAGES.size) // 16
    if not summary.chunk_indexes:
        return
    last = summary.chunk_indexes[-1]
    ends = last.chunk_start_offset + last.chunk_length
    try:
        messages = unpack_block(summary, file, last)
    except Exception:
        if not last.message_index_offsets and _zeros(file, ends - 16):  # the disk has its length, and not its bytes
            summary.chunk_indexes.pop()
            found.end = last.chunk_start_offset
            return
        raise
    if messages.keys() != last.message_index_offsets.keys():
        for channel in messages.keys() - last.message_index_offsets.keys():
            counts[channel] += len(messages[channel])
        last.message_index_offsets = dict.fromkeys(messages, 0)
        found.late, found.end = messages, ends
        # What else stands there is written anew, too.
        summary.metadata_indexes = [each for each in summary.metadata_indexes if each.offset < ends]


def _whole(file: BinaryIO, chunk: ChunkIndex) -> bool:
    try:
        read_chunk(file, chunk.chunk_start_offset, chunk.chunk_length)
    except BROKEN:
        return False
    return True


def unpack_block(summary: Summary, file: BinaryIO, chunk: ChunkIndex) -> dict[int, list[tuple[int, int]]]:
    """Channel → time and place of its messages. Raises what is in BROKEN."""
    records = read_chunk(file, chunk.chunk_start_offset, chunk.chunk_length)
    messages: dict[int, list[tuple[int, int]]] = {}
    at = 0
    while at < len(records):
        kind, length = HEAD.unpack_from(records, at)
        inside = at + HEAD.size
        if kind == Opcode.MESSAGE:
            channel, _, time, _ = _MESSAGE.unpack_from(records, inside)
            messages.setdefault(channel, []).append((time, at))
        elif kind in (Opcode.SCHEMA, Opcode.CHANNEL):
            reader = Schema if kind == Opcode.SCHEMA else Channel
            _keep(summary, reader.read(ReadDataStream(io.BytesIO(records[inside : inside + length]))))
        at = inside + length
    return messages


def _count(found: Contents, counts: Counter[int]) -> None:
    summary = found.summary
    chunks = summary.chunk_indexes
    summary.statistics = Statistics(
        0, len(summary.channels), dict(counts), len(chunks), counts.total(),
        max((chunk.message_end_time for chunk in chunks), default=0),
        min((chunk.message_start_time for chunk in chunks), default=0),
        len(summary.metadata_indexes), len(summary.schemas),
    )  # fmt: skip
