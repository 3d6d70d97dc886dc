"""Reading an episode's recording: what it says of itself, and what happened in it from one time to another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError
from mcap.reader import SeekingReader
from mcap.records import Channel

from ..errors import RecordingFailed, told
from ..wire import decode
from .blocks import Block, Blocks, kinds
from .broken import BROKEN
from .file import EPISODE, OUTCOME, PROFILE, SHADOW, VERSION
from .rescue import finish, is_finished
from .schemas import message_class


class Said(NamedTuple):
    """A message: its topic, what it is about (``name``, a canonical one), its time, and itself.

    ``at``: nanoseconds since 1970. ``message``: with the fields of its schema (the page on recordings).
    """

    topic: str
    name: str
    at: int
    message: Any


class Episode:
    """One episode that was recorded; a context that closes it. Nothing of it is loaded before it is asked for.

    ``about``: what was known when it began. ``outcome``: what became of it; of an episode that was killed only that.
    ``shadow``: ``server`` and ``meta``, the handshake, of a model that was asked the same and drove nothing; {} if none
    was.
    ``start``, ``end``: nanoseconds since 1970 of the first and the last message.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        """One that was left behind unfinished is finished first. Raises RecordingFailed, naming what it is instead."""
        path = self.path = Path(path)
        if not is_finished(path) and not finish(path):
            raise RecordingFailed(f"{path.name} is being recorded: wait until its run has ended")
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise RecordingFailed(f"{path.name} cannot be read: {error.strerror or told(error)}") from error
        try:
            self._open()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Episode:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @cached_property
    def topics(self) -> Mapping[str, str]:
        """What it holds: topic → the canonical name that it is about, or ""."""
        return {channel.topic: channel.metadata.get("name", "") for channel in self._channels}

    @cached_property
    def channels(self) -> Mapping[str, Mapping[str, str]]:
        """What each topic says of itself: ``name``; of vectors ``dtype``, ``shape``, of video ``height``, ``width``."""
        return {channel.topic: channel.metadata for channel in self._channels}

    def messages(self, topics: Iterable[str], start: int | None = None, end: int | None = None) -> Iterator[Said]:
        """Of these topics, by their times, from ``start`` on and before ``end``. Raises RecordingFailed."""
        wanted = [topic for topic in topics if topic in self.topics]
        if not wanted:
            return
        try:
            for schema, channel, message in self._reader.iter_messages(wanted, starting_at=start, ending_before=end):
                kind = message_class(schema.name if schema else "")
                yield Said(
                    channel.topic, channel.metadata.get("name", ""), message.log_time, kind.FromString(message.data)
                )
        except (*BROKEN, DecodeError) as error:
            raise RecordingFailed(f"{self.path.name} is damaged: {told(error)}") from error

    def blocks(self, topics: Iterable[str]) -> Sequence[Block]:
        """The parts that these topics are written in, about a second each, by their times."""
        return self._blocks.of(topics)

    def read_block(self, block: Block, topics: Iterable[str]) -> list[Said]:
        """What one of :meth:`blocks` has of these topics, in the order in which it was written. Raises RecordingFailed.

        It may be called by several threads.
        """
        names = self.topics
        try:
            return [
                Said(topic, names[topic], at, message_class(self._kinds.get(topic, "")).FromString(data))
                for topic, at, data in self._blocks.read(block, topics)
            ]
        except OSError as error:
            raise RecordingFailed(f"{self.path.name} cannot be read: {error.strerror or told(error)}") from error
        except (*BROKEN, DecodeError) as error:
            raise RecordingFailed(f"{self.path.name} is damaged: {told(error)}") from error

    # -- inside ----------------------------------------------------------------------------------------
    def _open(self) -> None:
        try:
            self._reader = SeekingReader(self._file)
            header, summary = self._reader.get_header(), self._reader.get_summary()
            told_ = {record.name: record.metadata for record in self._reader.iter_metadata()}
        except BROKEN as error:
            raise RecordingFailed(f"{self.path.name} is damaged: {told(error)}") from error
        self.about, self.outcome = read_described(
            self.path.name, header.profile, told_, whole=summary is not None and summary.statistics is not None
        )
        try:
            self.shadow = _read(told_.get(SHADOW, {}))
        except ValueError as error:
            raise RecordingFailed(f"{self.path.name} is damaged: {told(error)}") from error
        assert summary is not None
        assert summary.statistics is not None
        self.start, self.end = summary.statistics.message_start_time, summary.statistics.message_end_time
        self._channels: list[Channel] = list(summary.channels.values())
        self._blocks = Blocks(self._file, summary.channels, summary.chunk_indexes)
        self._kinds = kinds(summary.channels, summary.schemas)


def read_described(
    name: str, profile: str, said: Mapping[str, Mapping[str, str]], whole: bool = True
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a file says of the episode and of what became of it. Raises RecordingFailed for what is none of ours."""
    if profile != PROFILE or EPISODE not in said or not whole:
        raise RecordingFailed(
            f"{name} is an MCAP file, and no recording of offboard's: what `offboard run --output-dir` writes says so"
        )
    try:
        about, outcome = _read(said[EPISODE]), _read(said.get(OUTCOME, {}))
    except ValueError as error:
        raise RecordingFailed(f"{name} is damaged: {told(error)}") from error
    if (version := about.get("version")) != VERSION:
        raise RecordingFailed(
            f"{name} is a recording of version {version}, and this offboard reads version {VERSION}: use the offboard "
            "that wrote it, or a newer one"
        )
    return about, outcome


def read_observation(message: Any) -> dict[str, Any]:
    """What an answer's message says the policy was asked, beside the pictures. Raises BadMessage."""
    return decode(message.observation)


def read_rows(message: Any) -> list[dict[str, Any]]:
    """The rows of an answer's message. Raises BadMessage."""
    return decode(message.rows)


def _read(said: Mapping[str, str]) -> dict[str, Any]:
    return {name: json.loads(value) for name, value in said.items()}
