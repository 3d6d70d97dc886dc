"""A recording's file: MCAP, written so that whatever ends the program leaves a file that opens."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

from mcap.data_stream import RecordBuilder
from mcap.records import Metadata
from mcap.writer import CompressionType, Writer

from ..errors import RecordingFailed, told
from .schemas import PICTURES, Schema, set_time

try:
    import fcntl
except ImportError:  # Windows, where nobody can replace a file that is open
    fcntl = None

#: The version of what the topics and the metadata mean; readers refuse a later one.
VERSION = 1
#: What the header of the file says it follows.
PROFILE = "offboard"
#: What the metadata records are called.
EPISODE, OUTCOME, SHADOW = "offboard.episode", "offboard.outcome", "offboard.shadow"
NOTHING: Mapping[str, str] = MappingProxyType({})
#: So often what was said is written, in seconds, and after so many bytes: as much a killed run loses.
_EVERY, _MOST = 1.0, 8 << 20
#: Seconds for a lock: whoever reads the folder looks at the new file for an instant.
_PATIENCE = 1.0


class RecordingFile:
    """One file, of one episode or one session. Not thread-safe.

    It is locked as long as it is open, so that others tell one that is being written from one that was left behind.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Makes ``path``. Raises RecordingFailed, and FileExistsError: nothing is written over another."""
        self.path, self._clock = path, clock
        self._stream = _Stream(path)
        self._writer = Writer(_untyped(self._stream), chunk_size=2 * _MOST, compression=CompressionType.ZSTD)
        self._channels: dict[str, tuple[int, type[Any]]] = {}
        # What is to be written, by what is read together, for a chunk of the file is read whole: who plots an hour of
        # joints reads no picture, and who plays a video none of those that were sent.
        self._waiting: dict[str, list[tuple[int, int, bytes]]] = {}
        self._held = 0
        self._schemas: dict[str, int] = {}
        self._described = set[str]()
        self._flushed = clock()
        self.messages = 0
        try:
            with self._failing():
                self._writer.start(profile=PROFILE)
        except RecordingFailed:  # no room for a single byte: an empty file says nothing to anybody
            self.discard()
            raise

    @property
    def size(self) -> int:
        """Bytes so far, but for what is not written yet."""
        return self._stream.tell()

    def describe(self, name: str, said: Mapping[str, Any]) -> None:
        """A metadata record, each value as JSON. Raises RecordingFailed, also for what JSON has no form for."""
        try:
            texts = {key: json.dumps(value, allow_nan=True) for key, value in said.items()}
        except (TypeError, ValueError) as error:
            raise RecordingFailed(f"{name} has no form in JSON: {told(error)}") from error
        with self._failing():
            # What was said before it comes before it in the file, whatever ends the program now.
            self._flush()
            self._writer.add_metadata(name, texts)
            self._described.add(name)

    def write(
        self, topic: str, schema: Schema, at: int, said: Mapping[str, str] = NOTHING, stamp: int = -1, **fields: Any
    ) -> None:
        """A message of ``at``, nanoseconds since 1970, and with that ``timestamp`` unless ``stamp`` is another.

        ``said``: of the topic, by whoever writes its first message. Raises RecordingFailed.
        """
        with self._failing():
            if topic not in self._channels:
                self._channels[topic] = self._channel(topic, schema, said), schema.message
            channel, kind = self._channels[topic]
            message = kind(**fields)
            set_time(message.timestamp, at if stamp < 0 else stamp)
            data = message.SerializeToString()
            self._waiting.setdefault(schema.name if schema in PICTURES else "", []).append((channel, at, data))
            self._held += len(data)
            self.messages += 1
            if self._held >= _MOST or self._clock() - self._flushed >= _EVERY:
                self._flush()

    def finish(self) -> None:
        """With its index, so that readers can seek. Raises RecordingFailed; the file is closed all the same."""
        with contextlib.closing(self._stream), self._failing():
            self._flush()
            self._writer.finish()

    def abandon(self, why: RecordingFailed | None = None) -> None:
        """Close it as it is: what was flushed can be read, and finished later. ``why``: said as its outcome, unless one
        was said or there is no room for that either. Never raises."""
        with contextlib.suppress(OSError):
            if why is not None and OUTCOME not in self._described:
                # Beside the writer, which still has what could not be written.
                said = {"success": None, "failure": [why.code, why.text], "stopped": True}
                record = RecordBuilder()
                Metadata(OUTCOME, {key: json.dumps(value) for key, value in said.items()}).write(record)
                self._stream.write(record.end())
        with contextlib.suppress(OSError):
            self._stream.close()

    def discard(self) -> None:
        """Remove it: nobody wants it."""
        self.abandon()
        with contextlib.suppress(OSError):
            self.path.unlink()

    # -- inside ----------------------------------------------------------------------------------------
    def _flush(self) -> None:
        waiting, self._waiting, self._held, self._flushed = self._waiting, {}, 0, self._clock()
        for messages in waiting.values():
            for channel, at, data in messages:
                self._writer.add_message(channel, log_time=at, publish_time=at, data=data)
            self._writer.flush()

    def _channel(self, topic: str, schema: Schema, said: Mapping[str, str]) -> int:
        if schema.name not in self._schemas:
            self._schemas[schema.name] = self._writer.register_schema(schema.name, "protobuf", schema.descriptors)
        return self._writer.register_channel(topic, "protobuf", self._schemas[schema.name], metadata=dict(said))

    @contextlib.contextmanager
    def _failing(self) -> Any:
        try:
            yield
        except OSError as error:
            raise RecordingFailed(f"{self.path.name} cannot be written: {error.strerror or told(error)}") from error


class _Stream:
    """What the MCAP writer writes to: a write that fails leaves nothing of itself, so the file stays readable."""

    def __init__(self, path: Path) -> None:
        self._at = 0
        try:
            # Never an existing one: two runs may record into one folder.
            self._file: BinaryIO = open(path, "xb", buffering=0)  # noqa: SIM115
        except FileExistsError:
            raise
        except OSError as error:
            raise RecordingFailed(f"no recording can be made at {path}: {error.strerror or told(error)}") from error
        lock(self._file, _PATIENCE)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file.fileno(), self._at)
                self._file.seek(self._at)
            raise
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        pass  # it is not buffered: what a process wrote outlives the process

    def close(self) -> None:
        self._file.close()


def lock(file: BinaryIO, patience: float = 0.0) -> bool:
    """Whether it is ours alone until it is closed: False where another has it, or files cannot be locked.

    ``patience``: seconds for which others may look whether somebody has it.
    """
    if fcntl is None:
        return False
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.001)
        except OSError:  # a file system without locks
            return False
        else:
            return True


def is_locked(file: BinaryIO) -> bool:
    """Whether another has it for itself, as far as files can be locked."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        pass
    return False


def _untyped(value: Any) -> Any:
    return value
