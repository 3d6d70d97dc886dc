"""Reading an episode's recording: what it says of itself, and what happened in it from one time to another."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from mcap.records import Channel

from ..errors import RecordingFailed, told
from ..wire import decode
from .blocks import Block, Blocks, kinds
from .broken import BROKEN, damaged
from .described import KILLED, check_topics, nothing_of, read_described, read_values
from .file import EPISODE, OUTCOME, PROFILE, SHADOW, is_locked
from .rescue import is_finished
from .scan import read_index, scan
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
        """One that was left behind unfinished is read to where it ends. Raises RecordingFailed, naming what it is
        instead."""
        path = self.path = Path(path)
        #: Whether the file has its index, which it has once its episode is over.
        self.finished = is_finished(path)
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise self._unreadable(error) from error
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
        begin, last = start or 0, end
        held: list[tuple[int, int, int, Said]] = []  # of blocks that begin before what comes next, by their times
        for block in self._blocks.of(wanted := frozenset(topics)):
            if block.end < begin or (last is not None and block.start >= last):
                continue
            while held and held[0][0] < block.start:
                yield heapq.heappop(held)[-1]
            for number, said in enumerate(self.read_block(block, wanted)):
                if begin <= said.at and (last is None or said.at < last):
                    heapq.heappush(held, (said.at, block.offset, number, said))
        while held:
            yield heapq.heappop(held)[-1]

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
            raise self._unreadable(error) from error
        except BROKEN as error:
            raise damaged(self.path.name, error) from error

    # -- inside ----------------------------------------------------------------------------------------
    def _open(self) -> None:
        name = self.path.name
        try:
            size = os.fstat(self._file.fileno()).st_size
            if not self.finished and is_locked(self._file):
                raise RecordingFailed(f"{name} is being recorded: wait until its run has ended")
            found = read_index(self._file, size) if self.finished else scan(self._file, size)
            if not self.finished and found.profile == PROFILE and EPISODE not in found.said:
                raise nothing_of(name)
            summary = found.summary
            #: Bytes of an unfinished recording that cannot be read, for there is a hole before them.
            self.lost = found.lost
            self.about, self.outcome = read_described(name, found.profile, found.said, summary.statistics is not None)
            if not self.finished and OUTCOME not in found.said:
                self.outcome = dict(KILLED)
            self.shadow = read_values(found.said.get(SHADOW, {}))
            self._kinds = kinds(summary.channels, summary.schemas)
            check_topics(summary.channels.values(), self._kinds)
        except OSError as error:
            raise self._unreadable(error) from error
        except BROKEN as error:
            raise damaged(self.path.name, error) from error
        assert summary.statistics is not None
        self.start, self.end = summary.statistics.message_start_time, summary.statistics.message_end_time
        self._channels: list[Channel] = list(summary.channels.values())
        self._blocks = Blocks(self._file, summary.channels, summary.chunk_indexes)

    def _unreadable(self, error: OSError) -> RecordingFailed:
        return RecordingFailed(f"{self.path.name} cannot be read: {error.strerror or told(error)}")


def read_observation(message: Any) -> dict[str, Any]:
    """What an answer's message says the policy was asked, beside the pictures. Raises BadMessage."""
    return decode(message.observation)


def read_rows(message: Any) -> list[dict[str, Any]]:
    """The rows of an answer's message. Raises BadMessage."""
    return decode(message.rows)
