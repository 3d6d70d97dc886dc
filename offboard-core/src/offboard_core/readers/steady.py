"""What was recorded at its own times, as frames at a steady rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from offboard_client.errors import RecordingFailed
from offboard_client.wire import Array

from ..codecs import canonical_shape
from ..data_sets import SourceFrame

#: Seconds by which clocks that count in steps of their own differ.
_SAME_TIME = 1e-6
#: Seconds, and frames, for which what was observed last counts as known; the longer one.
_HELD, _FRAMES = 0.5, 3
#: Seconds of an episode: no longer one is an episode.
_LONGEST = 86_400.0


@dataclass(frozen=True)
class Track:
    """One name through an episode. ``times``: seconds, (n,) float64, never less than the one before.

    ``at``: what there was from the time of this index on: (N,) float64, or a function without arguments that makes
    (H, W, 3) uint8 RGB. It is asked for indices that never become less.
    """

    times: Array
    at: Callable[[int], Any]


class _Values(Mapping[str, Any]):
    """A frame's values; pictures are made when they are looked at."""

    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found

    def __getitem__(self, name: str) -> Any:
        value = self._found[name]
        if callable(value):
            value = self._found[name] = value()
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def steady(
    what: str,
    tracks: Mapping[str, Track],
    fps: float,
    *,
    task: Callable[[float], str],
    led: Callable[[float], bool] = lambda _: False,
    ended: bool = False,
    left_out: dict[str, int] | None = None,
) -> Iterator[SourceFrame]:
    """Frames 1 / ``fps`` s apart, from when all tracks have something to the last time of one. ``task``, ``led``: of a
    second.

    ``ended``: nothing is taken at the very last time. ``left_out`` is told how many there would be before all is known.
    Raises RecordingFailed: nothing at all, a hole, numbers that are none.
    """  # fmt: skip
    for name, track in tracks.items():
        if not len(track.times):
            raise RecordingFailed(f"{what} has no length: there is nothing of {name} in it")
        if not np.isfinite(track.times).all() or (np.diff(track.times) < 0).any():
            raise RecordingFailed(f"{what} is damaged: the times of {name} go back")
    first = max(float(track.times[0]) for track in tracks.values())
    last = max(float(track.times[-1]) for track in tracks.values())
    if last - first > _LONGEST:
        raise RecordingFailed(f"{what} is damaged: it is {last - first:.0f} s long, which is more than a day")
    if left_out is not None:
        begun = min(float(track.times[0]) for track in tracks.values())
        left_out["not_yet_known"] = int((first - begun) * fps + _SAME_TIME)
    held, count = max(_HELD, _FRAMES / fps), 0
    last += -_SAME_TIME if ended else _SAME_TIME
    while (seconds := first + count / fps) <= last:
        found: dict[str, Any] = {}
        for name, track in tracks.items():
            index = int(np.searchsorted(track.times, seconds + _SAME_TIME, "right")) - 1
            since = float(track.times[index])
            if seconds - since > held and canonical_shape(name) is not None:
                raise RecordingFailed(
                    f"{what} has a hole: {name} was not observed from {since - first:.2f} s to {seconds - first:.2f} s "
                    f"of it; at {fps:g} frames a second what is older than {held:g} s is not known"
                )
            value = track.at(index)
            if not callable(value) and not np.isfinite(value).all():
                raise RecordingFailed(f"{name} of {what} is {value.tolist()} at {since - first:.3f} s")
            found[name] = value
        yield SourceFrame(seconds - first, _Values(found), task(seconds), led(seconds))
        count += 1
    if not count:
        raise RecordingFailed(f"{what} has no length: it ends when all is known that a frame holds")
