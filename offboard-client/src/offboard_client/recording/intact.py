"""Whether all of a finished recording is what was written, for a program that would leave the rest out unsaid."""

from __future__ import annotations

import os
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from mcap.opcode import Opcode
from mcap.records import ChunkIndex, MessageIndex
from mcap.summary import Summary

from ..errors import RecordingFailed, told
from .broken import BROKEN, damaged
from .scan import FOOTER, HEAD, MAGIC, PLACES, Contents, read_block_head, read_index, read_record, unpack_block

#: What a block says of itself, which its checksum does not hold.
_SAID = (
    "chunk_length", "compression", "compressed_size", "uncompressed_size", "message_start_time", "message_end_time",
)  # fmt: skip


def check_intact(path: str | PathLike[str], progress: Callable[[float], None] = lambda share: None) -> None:
    """Read every block of a recording that has its index, and hold it against its checksum and the index.

    ``progress``: told the share that is done. Raises RecordingFailed: with the first place that is not what was
    written, and how many blocks are not.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            _check(file, size, read_index(file, size), progress)
    except OSError as error:
        raise RecordingFailed(f"{path.name} cannot be read: {error.strerror or told(error)}") from error
    except BROKEN as error:
        raise damaged(path.name, error) from error


# -- inside --------------------------------------------------------------------------------------------
def _check(file: BinaryIO, size: int, found: Contents, progress: Callable[[float], None]) -> None:
    """Record for record up to the index, which has a checksum of its own."""
    file.seek(size - FOOTER + HEAD.size)
    end, _, _ = PLACES.unpack(file.read(PLACES.size))
    blocks = {each.chunk_start_offset: each for each in found.summary.chunk_indexes}
    lists: dict[int, tuple[int, list[tuple[int, int]]]] = {}  # where a list of messages is, of what, and what it holds
    wrong: list[str] = []
    at, count = len(MAGIC), len(blocks)
    while at < end:
        file.seek(at)
        kind, length = HEAD.unpack(file.read(HEAD.size))
        if (after := at + HEAD.size + length) > end:
            raise ValueError(f"at byte {at} there is a record of {length} bytes, and its index begins at byte {end}")
        if kind == Opcode.CHUNK:
            try:
                lists |= _block(file, at, length, blocks.pop(at, None))
            except BROKEN as error:
                wrong.append(f"at byte {at}: {error if type(error) is ValueError else told(error)}")
            progress(after / size)
        elif kind == Opcode.MESSAGE_INDEX and (expected := lists.pop(at, None)) is not None:
            file.seek(at)
            record = MessageIndex.read(read_record(file, Opcode.MESSAGE_INDEX))
            if (record.channel_id, [(time, place) for time, place in record.records]) != expected:
                raise ValueError(f"at byte {at} there is a list of other messages than its block has")
        at = after
    if wrong:
        more = f" ({len(wrong)} of {count} blocks are)" if len(wrong) > 1 else ""
        raise ValueError(f"{wrong[0]}{more}")
    if blocks or lists:
        raise ValueError(f"at byte {min((*blocks, *lists))} there is not what the index has there")


def _block(
    file: BinaryIO, at: int, length: int, index: ChunkIndex | None
) -> dict[int, tuple[int, list[tuple[int, int]]]]:
    """Where its lists of messages are, of which channel, and what they hold."""
    head = read_block_head(file, at, length)
    if index is None or head is None:
        raise ValueError("there is a block that the index does not know")
    for name in _SAID:
        if (said := getattr(head, name)) != (known := getattr(index, name)):
            raise ValueError(f"a block's {name.replace('_', ' ')} is {said}, and {known} in the index")
    messages = unpack_block(Summary(), file, index)
    if messages.keys() != index.message_index_offsets.keys():
        raise ValueError("a block has messages of other topics than the index has")
    return {place: (channel, messages[channel]) for channel, place in index.message_index_offsets.items()}
