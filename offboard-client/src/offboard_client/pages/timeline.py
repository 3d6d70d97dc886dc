"""An episode's time, on the robot's clock: what was seen, answered and played at one moment stands at one place.

A recording's messages have the wall's time. Where the robot's clock stands still while it is thought, in a simulation,
the wall's goes on; commands and pictures fit together on the robot's only. Every observation and every command says
both, so each block of a recording tells its own time, and no other needs to be read for it.
"""

from __future__ import annotations

import bisect
import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from ..recording import Episode

#: Blocks of which the times are kept: a few kilobytes each.
_KEPT = 4096
_KNOTS = ("/observed", "/played")

Knots = tuple[NDArray[np.float64], NDArray[np.float64]]


class Timeline:
    """Times of one episode: nanoseconds since 1970, as messages have them, and seconds of the episode.

    ``duration``: seconds. What it asks of the episode may raise RecordingFailed.
    """

    def __init__(self, episode: Episode) -> None:
        self._episode, self._lock = episode, threading.Lock()
        self._knots: OrderedDict[int, Knots] = OrderedDict()
        self.blocks = episode.blocks
        said = episode.outcome.get("seconds")
        self.duration = float(said) if isinstance(said, (int, float)) else 0.0
        if self.blocks:
            self.duration = max(self.duration, *(float(t) for t in self._around(len(self.blocks) - 1)[1][-1:]), 0.0)

    def seconds(self, number: int, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """Times of messages of block ``number`` as seconds of the episode."""
        wall, seconds = self._around(number)
        return np.interp(at, wall, seconds)

    def begins(self, number: int) -> float:
        """Where a block begins; at the end for the one after the last."""
        if number >= len(self.blocks):
            return max(self.duration, self.begins(len(self.blocks) - 1)) if self.blocks else 0.0
        if number == 0:
            return 0.0
        return float(self.seconds(number, np.array([self._relative(self.blocks[number].start)]))[0])

    def find(self, seconds: float) -> int:
        """The block that has this moment."""
        found = bisect.bisect_right(range(len(self.blocks)), seconds, key=self.begins) - 1
        return max(0, min(found, len(self.blocks) - 1))

    def between(self, start: float, end: float) -> range:
        """The blocks that have a part of this time."""
        return range(self.find(start), self.find(end) + 1) if self.blocks else range(0)

    def wall(self, seconds: float, *, end: bool = False) -> int:
        """A moment of the episode as the time of messages; of those that have the same, the first, or the last."""
        wall, known = self._around(self.find(seconds))
        found = int(np.searchsorted(known, seconds, "right" if end else "left"))
        if found >= len(known) or (end and found == 0):
            return self._absolute(wall[-1 if found else 0])
        if not end and (known[found] == seconds or found == 0):
            return self._absolute(wall[found])
        low, high = known[found - 1], known[found]
        return self._absolute(wall[found - 1] + (wall[found] - wall[found - 1]) * (seconds - low) / (high - low))

    def relative(self, at: list[int]) -> NDArray[np.float64]:
        """Times of messages as this class reckons: a float64 has no room for all nanoseconds since 1970."""
        return np.array([each - self._episode.start for each in at], dtype=np.float64)

    # -- inside ----------------------------------------------------------------------------------------
    def _relative(self, at: int) -> float:
        return float(at - self._episode.start)

    def _absolute(self, at: float) -> int:
        return self._episode.start + round(float(at))

    def _around(self, number: int) -> Knots:
        """A block's own knots, with one of the next that have any on either side."""
        before = next((k for i in range(number - 1, -1, -1) if len((k := self._of(i))[0])), None)
        after = next((k for i in range(number + 1, len(self.blocks)) if len((k := self._of(i))[0])), None)
        own = self._of(number)
        walls = [*([before[0][-1:]] if before else []), own[0], *([after[0][:1]] if after else [])]
        seconds = [*([before[1][-1:]] if before else []), own[1], *([after[1][:1]] if after else [])]
        wall, second = np.concatenate(walls), np.maximum.accumulate(np.concatenate(seconds))
        if not len(wall):  # nothing was observed or played
            span = self._relative(self._episode.end)
            return np.array([0.0, max(span, 1.0)]), np.array([0.0, span / 1e9])
        return wall, second

    def _of(self, number: int) -> Knots:
        with self._lock:
            if (known := self._knots.get(number)) is not None:
                self._knots.move_to_end(number)
                return known
        said = sorted((each.at, float(each.message.seconds)) for each in self._episode.read_block(number, _KNOTS))
        found = self.relative([at for at, _ in said]), np.array([seconds for _, seconds in said], dtype=np.float64)
        with self._lock:
            self._knots[number] = found
            while len(self._knots) > _KEPT:
                self._knots.popitem(last=False)
        return found
