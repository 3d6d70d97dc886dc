"""Recordings that a run has left behind unfinished: killed, or without room on the disk."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import DataEnd, Footer, MessageIndex, Metadata, MetadataIndex, SummaryOffset

from ..errors import RecordingFailed, counted, told
from .broken import BROKEN, damaged
from .described import KILLED, read_described
from .file import EPISODE, OUTCOME, PROFILE, lock
from .scan import FOOTER, HEAD, MAGIC, PLACES, Contents, read_profile, scan

#: Seconds for which nobody has written to what was left behind. What arrives over a network may wait for a while, and
#: nothing is lost by waiting: what reads a recording needs no index.
_QUIET = 600.0


def is_finished(path: str | os.PathLike[str]) -> bool:
    """Whether a recording has its index. Raises RecordingFailed for what is none, or cannot be read."""
    path = Path(path)
    try:
        if not stat.S_ISREG(kind := path.stat().st_mode):  # a pipe would be waited for
            raise RecordingFailed(
                f"{path.name} is no recording: it is {'a folder' if stat.S_ISDIR(kind) else 'no file'}"
            )
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise RecordingFailed(f"{path.name} is no recording: it does not begin as an MCAP file does")
            if file.seek(0, os.SEEK_END) < FOOTER + len(MAGIC):
                return False
            file.seek(-FOOTER, os.SEEK_END)
            end = file.read()
            return end[0] == Opcode.FOOTER and end.endswith(MAGIC)
    except OSError as error:
        raise RecordingFailed(f"{path.name} cannot be read: {error.strerror or told(error)}") from error


def finish(path: str | os.PathLike[str], quiet: float = _QUIET) -> bool:
    """Give a recording of offboard's that was left behind its index, at its end; all else in it stays as it is.

    False where nothing is to be done: it has one, or is none of ours; it is being written, or somebody else has it
    open, or it was written to within ``quiet`` seconds; or files cannot be locked there, so that nobody can tell.
    Raises RecordingFailed for one that is damaged, or where there is no room, and leaves what can be read of it.
    """
    path = Path(path)
    try:
        if not _is_ours(path) or is_finished(path) or not _is_left(path, quiet):
            return False
        with path.open("r+b", buffering=0) as file:
            if not lock(file) or is_finished(path) or not _is_left(path, quiet):  # others do the same
                return False
            with path.open("rb") as source:
                found = scan(source, os.fstat(source.fileno()).st_size)
            if EPISODE not in found.said:  # nothing of its episode was recorded
                return False
            read_described(path.name, found.profile, found.said)
            if found.lost:  # what is behind the hole may be of use to somebody, and is not cut off
                raise RecordingFailed(
                    f"{path.name} has a hole at byte {found.end}, as a machine leaves that lost its power: what is "
                    f"before it can be read, {counted(found.lost, 'byte')} from there on cannot. It gets no index, and "
                    "stays as it is"
                )
            _append(file, found.end, _index(found))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RecordingFailed(f"{path.name} cannot be finished: {error.strerror or told(error)}") from error
    except BROKEN as error:
        raise damaged(path.name, error) from error
    return True


def finish_all(directory: Path, failed: Callable[[RecordingFailed], None]) -> Iterator[Path]:
    """Finish each that was left behind in a folder; those that are finished now. ``failed``: hears of each of ours that
    cannot be, which keeps nobody from the others."""
    for path in sorted(directory.glob("*.mcap")):
        try:
            if finish(path):
                yield path
        except RecordingFailed as error:
            failed(error)


# -- inside --------------------------------------------------------------------------------------------
def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file, contextlib.suppress(*BROKEN):
        return file.read(len(MAGIC)) == MAGIC and read_profile(file) == PROFILE
    return False


def _is_left(path: Path, quiet: float) -> bool:
    """Whether nobody has written to it for a while, and no other process has it open, as far as can be seen."""
    if time.time() - path.stat().st_mtime < quiet:
        return False
    name = os.path.realpath(path)
    for process in Path("/proc").glob("[0-9]*"):  # none where there is no such folder
        if process.name == str(os.getpid()):
            continue
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            for number in os.listdir(process / "fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(process / "fd" / number) == name:
                        return False
    return True


def _append(file: BinaryIO, end: int, data: bytes) -> None:
    """In place of the record that was cut off: there may be no room for a second file."""
    try:
        file.seek(end)
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
        file.truncate(end + len(data))
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(end)
        raise


def _index(found: Contents) -> bytes:
    """What stands behind what was recorded, up to the end of the file."""
    summary, out, end = found.summary, RecordBuilder(), found.end
    assert summary.statistics is not None
    if found.late:
        last = summary.chunk_indexes[-1]
        last.message_index_offsets = {}
        for channel, messages in found.late.items():
            last.message_index_offsets[channel] = end + out.count
            MessageIndex(channel, messages).write(out)
        last.message_index_length = out.count
    if OUTCOME not in {each.name for each in summary.metadata_indexes}:
        at, killed = out.count, {name: json.dumps(value) for name, value in KILLED.items()}
        Metadata(OUTCOME, dict(found.said.get(OUTCOME, killed))).write(out)
        summary.metadata_indexes.append(MetadataIndex(end + at, out.count - at, OUTCOME))
        summary.statistics.metadata_count += 1
    DataEnd(0).write(out)
    start = out.count
    groups = {
        Opcode.SCHEMA: summary.schemas.values(), Opcode.CHANNEL: summary.channels.values(),
        Opcode.STATISTICS: [summary.statistics], Opcode.CHUNK_INDEX: summary.chunk_indexes,
        Opcode.METADATA_INDEX: summary.metadata_indexes,
    }  # fmt: skip
    offsets = list[SummaryOffset]()
    for opcode, records in groups.items():
        at = out.count
        for record in records:
            record.write(out)
        offsets.append(SummaryOffset(opcode, end + at, out.count - at))
    listed = end + out.count
    for offset in offsets:
        offset.write(out)
    data = out.end()
    head = HEAD.pack(Opcode.FOOTER, PLACES.size) + struct.pack("<QQ", end + start, listed)
    Footer(end + start, listed, zlib.crc32(data[start:] + head)).write(out)
    return data + out.end() + MAGIC
