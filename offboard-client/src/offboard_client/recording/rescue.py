"""Recordings that a run has left behind unfinished: killed, or without room on the disk."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mcap.opcode import Opcode
from mcap.records import Channel, Header, Message, Metadata, Schema
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, Writer

from ..errors import RecordingFailed, told
from .broken import BROKEN
from .file import OUTCOME, PROFILE, lock

_MAGIC = b"\x89MCAP0\r\n"
#: A footer's bytes: its kind, its length, three numbers; and the magic.
_END = 1 + 8 + 20 + len(_MAGIC)
#: What a file that is being finished is called meanwhile.
_REST = ".finishing"
#: Bytes after which it is said how far it is.
_EVERY = 1 << 22


def is_finished(path: str | os.PathLike[str]) -> bool:
    """Whether a recording has its index. Raises RecordingFailed for what is none, or cannot be read."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise RecordingFailed(f"{path.name} is no recording: it does not begin as an MCAP file does")
            if file.seek(0, os.SEEK_END) < _END + len(_MAGIC):
                return False
            file.seek(-_END, os.SEEK_END)
            end = file.read()
            return end[0] == Opcode.FOOTER and end.endswith(_MAGIC)
    except OSError as error:
        raise RecordingFailed(f"{path.name} cannot be read: {error.strerror or told(error)}") from error


def finish(path: str | os.PathLike[str], progress: Callable[[float], None] = lambda share: None) -> bool:
    """Give a recording that was left behind its index. False where nothing is to be done, or it is being written.

    It is read to where it ends, which is the last second at most before what ended the run, and replaced as a whole.
    ``progress`` is told which share is done. Raises RecordingFailed, and leaves it as it was.
    """
    path = Path(path)
    if is_finished(path):
        return False
    rest = path.with_name(path.name + _REST)
    try:
        with path.open("rb") as file:
            if not lock(file):
                return False
            with rest.open("wb") as out:
                size = max(path.stat().st_size, 1)
                _copy(path.name, file, Writer(out, compression=CompressionType.ZSTD), lambda at: progress(at / size))
            os.replace(rest, path)
    except OSError as error:
        raise RecordingFailed(f"{path.name} cannot be finished: {error.strerror or told(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            rest.unlink()
    return True


def unfinished(directory: Path) -> Iterator[Path]:
    """Those of a folder that have no index, as one that is being written; not what is no recording at all."""
    for path in sorted(directory.glob("*.mcap")):
        with contextlib.suppress(RecordingFailed):
            if not is_finished(path):
                yield path


def finish_all(directory: Path, failed: Callable[[RecordingFailed], None]) -> Iterator[Path]:
    """Finish each that was left behind in a folder; those that are finished now. ``failed``: hears of each that is not,
    which stays as it was, and keeps nobody from the others."""
    for path in unfinished(directory):
        try:
            if finish(path):
                yield path
        except RecordingFailed as error:
            failed(error)


def _copy(name: str, file: BinaryIO, writer: Writer, progress: Callable[[int], None]) -> None:
    schemas: dict[int, int] = {}
    channels: dict[int, int] = {}
    writer.start(profile=PROFILE)
    ended, told_at = False, 0
    with contextlib.suppress(*BROKEN):  # where it ends
        for record in StreamReader(file).records:
            if isinstance(record, Header) and record.profile != PROFILE:
                raise RecordingFailed(f"{name} is an MCAP file without an end, and no recording of offboard's")
            if (at := file.tell()) >= told_at + _EVERY:
                told_at = at
                progress(at)
            ended |= isinstance(record, Metadata) and record.name == OUTCOME
            _put(record, writer, schemas, channels)
    if not ended:
        said = {"success": None, "failure": ["killed", "the run ended before the episode did"], "stopped": True}
        writer.add_metadata(OUTCOME, {name: json.dumps(value) for name, value in said.items()})
    writer.finish()


def _put(record: Any, writer: Writer, schemas: dict[int, int], channels: dict[int, int]) -> None:
    if isinstance(record, Schema) and record.id not in schemas:
        schemas[record.id] = writer.register_schema(record.name, record.encoding, record.data)
    elif isinstance(record, Channel) and record.id not in channels:
        channels[record.id] = writer.register_channel(
            record.topic, record.message_encoding, schemas[record.schema_id], record.metadata
        )
    elif isinstance(record, Message):
        writer.add_message(
            channels[record.channel_id], record.log_time, record.data, record.publish_time, record.sequence
        )
    elif isinstance(record, Metadata):
        writer.add_metadata(record.name, record.metadata)
