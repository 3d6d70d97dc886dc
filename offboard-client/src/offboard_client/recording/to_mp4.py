"""A recording's cameras as MP4 files: the same frames at the times when they were taken, not encoded anew."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from fractions import Fraction
from os import PathLike, fspath
from typing import Any

import av
import av.error

from ..errors import RecordingFailed, told
from .pictures import TIME_BASE, starts
from .reader import Episode, Said

#: How long the last frame is shown, in microseconds: nobody knows when the next one would have come.
_LAST = 33_333
#: How far back a frame is looked for that a player can start with, at first, in nanoseconds: there is one every 30.
_BACK = 2 * 10**9


def write_mp4(
    episode: Episode,
    topic: str,
    path: str | PathLike[str],
    progress: Callable[[float], None] = lambda share: None,
    within: tuple[int, int] | None = None,
) -> int:
    """Write the frames of ``topic``, a ``/video/…``, to ``path``; how many are shown.

    ``within``: only those from one time on and before another, nanoseconds since 1970. Times count from there, else
    from the episode's beginning, so that several cameras stay together. What a player needs to decode the first, and is
    before it, is in the file, too, and marked as not to be shown. ``progress`` is told which share is done. Raises
    RecordingFailed, and OSError for ``path``.
    """
    begin, end = within or (episode.start, episode.end + 1)
    frames = _from_key_frame(episode.messages([topic], _key_frame(episode, topic, begin), end))
    first = next(frames, None)
    if first is None:
        when = "" if within is None else " within this range"
        raise RecordingFailed(f"{episode.path.name} has no frame of {topic}{when} that a player can start with")
    length, count, last = max(end - begin, 1), 0, 0
    parameters = _parameters(first.message.data)
    try:
        with (
            av.open(io.BytesIO(first.message.data), format="h264") as raw,
            av.open(fspath(path), "w", format="mp4") as made,
        ):
            stream = _like(made, raw.streams.video[0])
            stream.time_base = TIME_BASE

            def mux(said: Said, at: int, until: int) -> None:
                packet: Any = av.Packet(said.message.data)
                packet.stream, packet.time_base = stream, TIME_BASE
                packet.pts = packet.dts = at
                packet.duration, packet.is_keyframe = until - at, starts(said.message.data)
                made.mux_one(packet)

            held, last = first, (first.at - begin) // 1000
            for said in frames:
                if starts(said.message.data) and _parameters(said.message.data) != parameters:
                    raise RecordingFailed(f"{episode.path.name}: {topic} changes its size: one MP4 file has one")
                at = max((said.at - begin) // 1000, last + 1)
                mux(held, last, at)
                count += last >= 0
                held, last = said, at
                progress(max(said.at - begin, 0) / length)
            mux(held, last, last + _LAST)
    except av.error.FFmpegError as error:
        raise _as_ours(error, f"{episode.path.name}: {topic} is no video") from error
    return count + (last >= 0)


def _key_frame(episode: Episode, topic: str, at: int) -> int:
    """When the last frame came at this time or before that a player can start with; this time where none did."""
    back = _BACK
    while at > episode.start:
        since = max(at - back, episode.start)
        found = [said.at for said in episode.messages([topic], since, at + 1) if starts(said.message.data)]
        if found:
            return found[-1]
        if since == episode.start:
            break
        back *= 4
    return at


class SteadyVideo:
    """One camera's packets as an MP4 file whose frame i is at i / ``rate`` s; not encoded anew."""

    def __init__(self, path: str | PathLike[str], rate: int, what: str) -> None:
        """``what``: whose they are, for errors. The file is made with the first packet."""
        self._path, self._rate, self._what = path, rate, what
        self._made: Any = None
        self._stream: Any = None
        self._parameters = b""
        self._count = 0

    def write(self, data: bytes) -> None:
        """The next frame; a player has to be able to start with the first. Raises RecordingFailed and OSError."""
        try:
            if self._made is None:
                self._parameters = _parameters(data)
                with av.open(io.BytesIO(data), format="h264") as raw:
                    self._made = av.open(fspath(self._path), "w", format="mp4")
                    self._stream = _like(self._made, raw.streams.video[0])
                self._stream.time_base = Fraction(1, self._rate)
            elif starts(data) and _parameters(data) != self._parameters:
                raise RecordingFailed(f"{self._what} changes its size: one MP4 file has one")
            packet: Any = av.Packet(data)
            packet.stream, packet.time_base = self._stream, Fraction(1, self._rate)
            packet.pts = packet.dts = self._count
            packet.duration, packet.is_keyframe = 1, starts(data)
            self._made.mux_one(packet)
            self._count += 1
        except av.error.FFmpegError as error:
            raise _as_ours(error, f"{self._what} is no video") from error

    def finish(self) -> None:
        """The file is whole. It may be repeated. Raises OSError."""
        if self._made is not None:
            self._made.close()
            self._made = None


def _as_ours(error: av.error.FFmpegError, what: str) -> Exception:
    """Its own where it is about the disk, else that the recording is wrong."""
    if isinstance(error, OSError) and error.errno in (5, 13, 28):
        return error
    return RecordingFailed(f"{what}: {told(error)}")


def _from_key_frame(frames: Iterator[Said]) -> Iterator[Said]:
    begun = False
    for said in frames:
        begun = begun or starts(said.message.data)
        if begun:
            yield said


def _like(container: Any, template: Any) -> Any:
    make = getattr(container, "add_stream_from_template", None)
    return container.add_stream(template=template) if make is None else make(template)


def _parameters(data: bytes) -> bytes:
    """The stream's parameters, with which a key frame begins."""
    at = data.find(b"\0\0\1")
    while at >= 0 and data[at + 3] & 31 != 7:
        at = data.find(b"\0\0\1", at + 3)
    return data[at : data.find(b"\0\0\1", at + 3)]
