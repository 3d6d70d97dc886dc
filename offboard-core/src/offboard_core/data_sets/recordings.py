"""Our own recordings as a source: what `offboard run` and `offboard evaluate` wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from offboard_client.errors import ConfigurationError, RecordingFailed
from offboard_client.exports import (
    Attempt,
    Numbers,
    SteadyFrames,
    channels_of,
    choose_attempts,
    layout_for,
    names_of,
    origin_of,
    recordings_in,
    unfinished,
)
from offboard_client.recording import Episode, glance

from .seam import SourceEpisode, SourceFrame


class Recordings:
    """An :class:`EpisodeSource`: those of ``place``, a folder of recordings or of an evaluation, or one recording.

    ``outcomes``: only attempts that came out so. ``clips``: only the ranges that were cut out, each by itself. ``say``
    is told what is left out because it counts in no report, and what has no end.
    """

    fps = None

    def __init__(
        self,
        place: Path,
        outcomes: Collection[str] = (),
        clips: bool = False,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._place, self._outcomes, self._clips, self._say = place, outcomes, clips, say
        self.left_out = Counter[str]()

    def episodes(self) -> Sequence[SourceEpisode]:
        """See :class:`EpisodeSource`."""
        paths = recordings_in(self._place)
        self.left_out.clear()
        chosen, broken = choose_attempts(paths, self._outcomes, self._clips, self._say, self.left_out)
        if not chosen and not broken:
            came = f" that came out as {' or '.join(self._outcomes)}" if self._outcomes else ""
            clip = " with a clip" if self._clips else ""
            raise ConfigurationError(
                f"none of {len(paths)} in {self._place} is a recording{clip}{came}: `offboard replay {self._place}` "
                "shows what came of each, scores it and cuts clips out"
            )
        return [
            *(BrokenEpisode(name, why) for name, why in broken.items()),
            *(RecordedEpisode(attempt, self._say, _cut(attempt, chosen)) for attempt in chosen),
        ]


class BrokenEpisode:
    """A :class:`SourceEpisode` that cannot be read: its recording, or what people said of it."""

    origin: Mapping[str, Any] = {}
    left_out: Mapping[str, int] = {}
    seconds = 0.0

    def __init__(self, name: str, why: str) -> None:
        self.name = self.identity = name
        self._why = why

    def names(self) -> Collection[str]:
        """See :class:`SourceEpisode`."""
        raise RecordingFailed(self._why)

    def advice(self, absent: Collection[str]) -> str:
        """See :class:`SourceEpisode`."""
        raise RecordingFailed(self._why)

    def frames(self, fps: float, wanted: Collection[str]) -> Iterator[SourceFrame]:
        """See :class:`SourceEpisode`."""
        raise RecordingFailed(self._why)


class RecordedEpisode:
    """A :class:`SourceEpisode`: a recording, or a range of one. ``cut``: seconds of it that are in no range."""

    def __init__(self, attempt: Attempt, say: Callable[[str], None], cut: float = 0.0) -> None:
        self._attempt, self._say, self._cut = attempt, say, cut
        self.left_out: Mapping[str, int] = {}
        seen = glance(attempt.path)
        self.origin: Mapping[str, Any] = {
            **origin_of(attempt, seen.about, seen.outcome), "channels": channels_of(seen.about)
        }  # fmt: skip
        clip, lasted = attempt.clip, seen.outcome.get("seconds")
        begin, end = (seen.start / 1e9, seen.end / 1e9) if clip is None else clip.seconds
        known = clip is None and isinstance(lasted, int | float) and lasted > 0
        self.seconds = float(lasted) if known and lasted is not None else max(0.0, end - begin)

    @property
    def name(self) -> str:
        """See :class:`SourceEpisode`."""
        return self._attempt.name

    @property
    def identity(self) -> str:
        """See :class:`SourceEpisode`: a recording that was moved or copied is the same."""
        return f"{self._attempt.name} {self._attempt.began!r}"

    def names(self) -> Collection[str]:
        """See :class:`SourceEpisode`."""
        with Episode(self._attempt.path) as episode:
            return names_of(episode)

    def advice(self, absent: Collection[str]) -> str:
        """See :class:`SourceEpisode`."""
        there = sorted(self.names())
        if any(name.startswith("image.") for name in absent):
            cameras = ", ".join(name for name in there if name.startswith("image."))
            return f"its cameras: {cameras or 'none'} (--codec.map gives one another name)"
        return f"it has {', '.join(there) or 'nothing'}"

    def frames(self, fps: float, wanted: Collection[str]) -> Iterator[SourceFrame]:
        """See :class:`SourceEpisode`. The first frame is half as long after all is known as frames are apart.

        There is none at a time at which nothing was commanded that can be learnt: for the arm held.
        """
        begin = 0.0 if self._attempt.clip is None else self._attempt.clip.seconds[0]
        with Episode(self._attempt.path) as episode:
            if why := unfinished(episode):
                self._say(why)
            layout = layout_for(episode, wanted)
            count = 0
            frames = SteadyFrames(episode, self._attempt, layout, fps)
            for frame in frames:
                values = {**_split(layout.state, frame.state), **_split(layout.action, frame.action), **frame.cameras}
                yield SourceFrame(frame.seconds - begin, values, frame.task, frame.led)
                count += 1
        self.left_out = {
            "nothing_commanded": frames.left_out, "not_yet_known": frames.early,
            "outside_clips": round(self._cut * fps),
        }  # fmt: skip
        if not count:
            raise RecordingFailed(
                f"{self._attempt} has no frame: nothing was commanded while all was known that one holds"
            )


def _cut(attempt: Attempt, chosen: Sequence[Attempt]) -> float:
    """Seconds of a recording that are in none of the ranges that were cut out of it, told of the first of these."""
    ranges = [other.clip.seconds for other in chosen if other.clip is not None and other.path == attempt.path]
    if attempt.clip is None or ranges[0] != attempt.clip.seconds:
        return 0.0
    seen = glance(attempt.path)
    lasted, within, until = seen.outcome.get("seconds"), 0.0, 0.0
    for begin, end in sorted(ranges):
        within, until = within + max(0.0, end - max(begin, until)), max(until, end)
    whole = float(lasted) if isinstance(lasted, int | float) else (seen.end - seen.start) / 1e9
    return max(0.0, whole - within)


def _split(numbers: Sequence[Numbers], vector: Any) -> dict[str, Any]:
    """A frame's numbers by their names."""
    found, at = dict[str, Any](), 0
    for each in numbers:
        found[each.name] = vector[at : at + len(each.labels)]
        at += len(each.labels)
    return found
