"""A recording by parts, so that any moment of a long one is there at once: MCAP's chunks, here called blocks.

(A chunk is a policy's here.) A block has about a second of what is read together: numbers, video, or what was sent. It
is read, checked and unpacked as a whole.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, NamedTuple

import lz4.frame  # pyright: ignore[reportMissingTypeStubs]
import zstandard
from mcap.opcode import Opcode
from mcap.records import Channel, ChunkIndex

# It has no types.
_LZ4: Any = lz4.frame
_RECORD = struct.Struct("<BQ")
#: Start and end time, size unpacked, checksum, and the length of the compression's name.
_CHUNK = struct.Struct("<QQQII")
#: Channel, sequence number, log time, publish time.
_MESSAGE = struct.Struct("<HIQQ")
#: No block is larger, in bytes; the recorder closes one at 1 MiB, which one message may exceed.
LARGEST = 1 << 28


class Block(NamedTuple):
    """``start``, ``end``: nanoseconds since 1970 of its first and last message. ``offset``, ``length``: in the file.

    ``channels``: the ids of those that it has messages of.
    """

    start: int
    end: int
    offset: int
    length: int
    channels: frozenset[int]


class Blocks:
    """The blocks of one open file; safe to use from several threads."""

    def __init__(self, file: BinaryIO, channels: Mapping[int, Channel], indexes: Iterable[ChunkIndex]) -> None:
        self._file, self._lock = file, threading.Lock()
        self._topics = {number: channel.topic for number, channel in channels.items()}
        self._all = sorted(
            (
                Block(
                    each.message_start_time, each.message_end_time, each.chunk_start_offset, each.chunk_length,
                    frozenset(each.message_index_offsets),
                )
                for each in indexes
            ),
            key=lambda block: (block.start, block.offset),
        )  # fmt: skip

    def of(self, topics: Iterable[str]) -> list[Block]:
        """Those that have messages of these topics, by their times."""
        wanted = set(topics)
        channels = {number for number, topic in self._topics.items() if topic in wanted}
        return [block for block in self._all if not block.channels.isdisjoint(channels)]

    def read(self, block: Block, topics: Iterable[str]) -> list[tuple[str, int, bytes]]:
        """Topic, time and bytes of each message of these topics, in the order in which they were written.

        Raises ValueError and what else is in ``BROKEN`` for what is damaged, OSError for what cannot be read.
        """
        wanted = set(topics)
        channels = {number: topic for number, topic in self._topics.items() if topic in wanted}
        records = self._unpacked(block)
        found: list[tuple[str, int, bytes]] = []
        at, size = 0, len(records)
        while at < size:
            kind, length = _RECORD.unpack_from(records, at)
            at += _RECORD.size
            if kind == Opcode.MESSAGE:
                channel, _, time, _ = _MESSAGE.unpack_from(records, at)
                if (topic := channels.get(channel)) is not None:
                    found.append((topic, time, records[at + _MESSAGE.size : at + length]))
            at += length
        return found

    def _unpacked(self, block: Block) -> bytes:
        with self._lock:
            data = _packed(self._file, block.offset, block.length)
        return _unpack(data)


def read_chunk(file: BinaryIO, offset: int, length: int) -> bytes:
    """The records of MCAP's chunk there. Raises ValueError and what else is in ``BROKEN``, and OSError."""
    return _unpack(_packed(file, offset, length))


def _packed(file: BinaryIO, offset: int, length: int) -> bytes:
    if length > LARGEST:
        raise ValueError(f"a block has {length} bytes")
    file.seek(offset)
    return file.read(length)


def _of_lz4(packed: memoryview, size: int) -> bytes:
    """At most so many bytes and one more."""
    try:
        return _LZ4.LZ4FrameDecompressor().decompress(packed, size + 1)
    except RuntimeError as error:  # all that it raises for what is none
        raise ValueError(f"a block is not what was written: {error}") from None


#: How MCAP's chunks may be packed: by us with zstd, by what others make of a recording with any.
_UNPACKED: dict[str, Callable[[memoryview, int], bytes]] = {
    "": lambda packed, size: bytes(packed),
    "zstd": lambda packed, size: zstandard.ZstdDecompressor().decompress(packed, size),
    "lz4": _of_lz4,
}


def _unpack(data: bytes) -> bytes:
    kind, _ = _RECORD.unpack_from(data)
    _, _, size, checksum, named = _CHUNK.unpack_from(data, _RECORD.size)
    at = _RECORD.size + _CHUNK.size
    compression, at = data[at : at + named].decode("ascii"), at + named + 8
    if kind != Opcode.CHUNK or size > LARGEST or compression not in _UNPACKED:
        raise ValueError(f"there is no block where the index has one (kind {kind}, {size} bytes, {compression!r})")
    packed = memoryview(data)[at:]
    records = _UNPACKED[compression](packed, size)
    if len(records) != size or (checksum and zlib.crc32(records) != checksum):
        raise ValueError("a block is not what was written: its checksum differs")
    return records


def kinds(channels: Mapping[int, Channel], schemas: Mapping[int, Any]) -> dict[str, str]:
    """Topic → the name of its schema."""
    return {each.topic: schemas[each.schema_id].name for each in channels.values() if each.schema_id in schemas}
