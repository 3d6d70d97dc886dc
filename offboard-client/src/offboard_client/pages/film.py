"""An episode's cameras as pictures that any browser shows: the frames of a second at once, as JPEG."""

from __future__ import annotations

import bisect
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import NotFound, RecordingFailed, told
from ..recording import Block, Episode, Said, VideoDecoder, decode_frame, encode_jpeg, starts
from .timeline import Timeline

#: Bytes of pictures that are kept of one episode.
_KEPT = 64 << 20
#: Blocks that are looked through for a frame from which a player can start: it is a second away.
_BACK = 64
_HEAD, _EACH = struct.Struct("<4sIdd"), struct.Struct("<dI")


@dataclass(frozen=True)
class Reel:
    """What one camera saw from ``start`` to ``end``, in seconds of the episode: times, and JPEG files.

    The first may be from before: what was to be seen as it began.
    """

    start: float
    end: float
    times: tuple[float, ...]
    pictures: tuple[bytes, ...]

    def pack(self) -> bytes:
        """``OBF1``, how many, start and end; then of each its time and its size; then their bytes. Little-endian."""
        table = b"".join(_EACH.pack(at, len(data)) for at, data in zip(self.times, self.pictures, strict=True))
        return _HEAD.pack(b"OBF1", len(self.times), self.start, self.end) + table + b"".join(self.pictures)


def cameras_of(topics: Mapping[str, str]) -> dict[str, str]:
    """Camera → the topic of its video, else that of the frames which the policy was sent.

    Behind them, as ``seen: NAME``, what a server's recording has of the pictures that the model was given.
    """
    known = sorted(topics)
    found = {
        topic.split("/", 2)[2]: topic for kind in ("/sent/", "/video/") for topic in known if topic.startswith(kind)
    }
    seen = {f"seen: {topics[topic]}": topic for topic in known if topic.startswith("/seen/")}
    return dict(sorted(found.items())) | seen


class Film:
    """The pictures of one episode. Safe to use from several threads."""

    def __init__(self, episode: Episode, timeline: Timeline) -> None:
        self._episode, self._timeline, self._lock = episode, timeline, threading.Lock()
        self._blocks: dict[str, Sequence[Block]] = {}
        self._reels: OrderedDict[tuple[str, int, int | None], Reel] = OrderedDict()
        self._size = 0
        self.topics = cameras_of(episode.topics)

    def reel(self, camera: str, seconds: float, width: int | None = None) -> Reel:
        """What it saw about this moment: as much as one block has. Raises NotFound, RecordingFailed."""
        topic, blocks = self._blocks_of(camera)
        number = self._find(topic, seconds)
        key = (camera, number, width)
        with self._lock:
            if (known := self._reels.get(key)) is not None:
                self._reels.move_to_end(key)
                return known
        frames = [(at, encode_jpeg(frame, width)) for at, frame in self._run(topic, number, number, lambda: False)]
        last = self._timeline.duration if number + 1 == len(blocks) else self._begins(topic, number + 1)
        reel = Reel(
            self._begins(topic, number), max(last, seconds), tuple(at for at, _ in frames),
            tuple(data for _, data in frames),
        )  # fmt: skip
        with self._lock:
            self._reels[key] = reel
            self._size += sum(map(len, reel.pictures))
            while self._size > _KEPT and len(self._reels) > 1:
                _, old = self._reels.popitem(last=False)
                self._size -= sum(map(len, old.pictures))
        return reel

    def frames(
        self, camera: str, start: float, end: float, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[float, Any]]:
        """FFmpeg's frames from ``start`` to ``end`` with their seconds; first the one that was there as it began."""
        topic, _ = self._blocks_of(camera)
        shown: tuple[float, Any] | None = None
        for at, frame in self._run(topic, self._find(topic, start), self._find(topic, end), stopped):
            if at >= end:
                break
            if at <= start:
                shown = (at, frame)
                continue
            if shown is not None:
                yield shown
                shown = None
            yield at, frame
        if shown is not None:
            yield shown

    # -- inside ----------------------------------------------------------------------------------------
    def _blocks_of(self, camera: str) -> tuple[str, Sequence[Block]]:
        if (topic := self.topics.get(camera)) is None:
            have = ", ".join(self.topics) or "none"
            raise NotFound(f"the episode has no camera {camera[:64]!r}; it has: {have}")
        if topic not in self._blocks:
            self._blocks[topic] = self._episode.blocks([topic])
        if not self._blocks[topic]:
            raise NotFound(f"the camera {camera} has no picture: the episode ended before its first")
        return topic, self._blocks[topic]

    def _begins(self, topic: str, number: int) -> float:
        """When a block begins; the first does with the episode."""
        return 0.0 if number == 0 else float(self._timeline.seconds([self._blocks[topic][number].start])[0])

    def _find(self, topic: str, seconds: float) -> int:
        numbers = range(len(self._blocks[topic]))
        return max(0, bisect.bisect_right(numbers, seconds, key=lambda number: self._begins(topic, number)) - 1)

    def _run(self, topic: str, first: int, last: int, stopped: Callable[[], bool]) -> Iterator[tuple[float, Any]]:
        """The frames of blocks ``first`` to ``last``, with their seconds; before them the one that was there."""
        moving = topic.startswith("/video/")
        decoder = VideoDecoder() if moving else None
        shown: tuple[float, Any] | None = None
        started = not moving
        lead = self._lead(topic, first, moving)
        for number in range(first - len(lead), last + 1):
            if stopped():
                return
            packets = lead[number - first] if number < first else self._read(topic, number)
            for said, at in zip(packets, self._timeline.seconds([said.at for said in packets]).tolist(), strict=True):
                started = started or starts(said.message.data)
                if not started:  # the file was cut off before it
                    continue
                for frame in _decoded(decoder, said):
                    if number < first:
                        shown = (at, frame)
                        continue
                    if shown is not None:
                        yield shown
                        shown = None
                    yield at, frame
        if shown is not None:
            yield shown

    def _lead(self, topic: str, first: int, moving: bool) -> list[list[Said]]:
        """What has to be decoded before block ``first``: from the last frame on with which a player can start."""
        found: list[list[Said]] = []
        own = self._read(topic, first)
        if own and (not moving or starts(own[0].message.data)):
            return []
        for number in range(first - 1, max(-1, first - 1 - _BACK), -1):
            packets = self._read(topic, number)
            keys = [i for i, said in enumerate(packets) if not moving or starts(said.message.data)]
            found.insert(0, packets[keys[-1] :] if keys else packets)
            if keys:
                break
        return found

    def _read(self, topic: str, number: int) -> list[Said]:
        return sorted(self._episode.read_block(self._blocks[topic][number], [topic]), key=lambda said: said.at)


def _decoded(decoder: VideoDecoder | None, said: Said) -> Iterator[Any]:
    try:
        if decoder is None:
            yield decode_frame(said.message.data)
        else:
            yield from decoder.frames(said.message.data)
    except (OSError, EOFError, ValueError, IndexError) as error:  # FFmpeg's errors are among them
        raise RecordingFailed(f"a picture of {said.topic} cannot be decoded: {told(error)}") from error
