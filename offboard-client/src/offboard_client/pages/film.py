"""An episode's cameras as pictures that any browser shows: the frames of a second at once, as JPEG."""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import NotFound, RecordingFailed, told
from ..recording import Episode, Said, VideoDecoder, decode_frame, encode_jpeg, starts
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


class Film:
    """The pictures of one episode. Safe to use from several threads."""

    def __init__(self, episode: Episode, timeline: Timeline) -> None:
        self._episode, self._timeline, self._lock = episode, timeline, threading.Lock()
        self._reels: OrderedDict[tuple[str, int, int | None], Reel] = OrderedDict()
        self._size = 0
        #: Camera → the topic of its video, else that of the frames which the policy was sent.
        self.topics = {
            topic.split("/", 2)[2]: topic
            for kind in ("/sent/", "/video/")
            for topic in sorted(episode.topics)
            if topic.startswith(kind)
        }

    def reel(self, camera: str, seconds: float, width: int | None = None) -> Reel:
        """What it saw about this moment: as much as one block has. Raises NotFound, RecordingFailed."""
        if not self._timeline.blocks:
            raise NotFound("the episode has no pictures")
        number = self._timeline.find(seconds)
        key = (camera, number, width)
        with self._lock:
            if (known := self._reels.get(key)) is not None:
                self._reels.move_to_end(key)
                return known
        frames = [(at, encode_jpeg(frame, width)) for at, frame in self.frames(camera, number)]
        reel = Reel(
            self._timeline.begins(number), self._timeline.begins(number + 1),
            tuple(at for at, _ in frames), tuple(data for _, data in frames),
        )  # fmt: skip
        with self._lock:
            self._reels[key] = reel
            self._size += sum(map(len, reel.pictures))
            while self._size > _KEPT and len(self._reels) > 1:
                _, old = self._reels.popitem(last=False)
                self._size -= sum(map(len, old.pictures))
        return reel

    def frames(self, camera: str, number: int) -> list[tuple[float, Any]]:
        """The frames of one block with their seconds, after one from before it where there is one that is near."""
        return list(self.run(camera, number, number))

    def run(
        self, camera: str, first: int, last: int, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[float, Any]]:
        """The frames of blocks ``first`` to ``last``, with their seconds; before them the one that was there."""
        if (topic := self.topics.get(camera)) is None:
            have = ", ".join(self.topics) or "none"
            raise NotFound(f"the episode has no camera {camera[:64]!r}; it has: {have}")
        moving = topic.startswith("/video/")
        lead = list(self._lead(topic, first, moving))
        decoder = VideoDecoder() if moving else None
        shown: tuple[float, Any] | None = None
        started = not moving
        for number, packets in [*lead, *((i, None) for i in range(first, last + 1))]:
            if stopped():
                return
            packets = self._episode.read_block(number, [topic]) if packets is None else packets
            times = self._timeline.seconds(number, self._timeline.relative([said.at for said in packets]))
            for said, at in zip(packets, times.tolist(), strict=True):
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

    def _lead(self, topic: str, first: int, moving: bool) -> list[tuple[int, list[Said]]]:
        """What has to be decoded before block ``first``: from the last frame on with which a player can start."""
        found: list[tuple[int, list[Said]]] = []
        own = self._episode.read_block(first, [topic])
        if own and (not moving or starts(own[0].message.data)):
            return []
        for number in range(first - 1, max(-1, first - 1 - _BACK), -1):
            packets = self._episode.read_block(number, [topic])
            key = next(
                (i for i in range(len(packets) - 1, -1, -1) if not moving or starts(packets[i].message.data)), None
            )
            found.insert(0, (number, packets if key is None else packets[key:]))
            if key is not None:
                return found
        return found


def _decoded(decoder: VideoDecoder | None, said: Said) -> Iterator[Any]:
    try:
        if decoder is None:
            yield decode_frame(said.message.data)
        else:
            yield from decoder.frames(said.message.data)
    except (OSError, ValueError, IndexError) as error:  # FFmpeg's errors are among them
        raise RecordingFailed(f"a picture of {said.topic} cannot be decoded: {told(error)}") from error
