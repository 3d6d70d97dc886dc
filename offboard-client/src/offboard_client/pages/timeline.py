"""An episode's time, on the robot's clock: what was seen, answered and played at one moment stands at one place.

A recording's messages have the wall's time. Where the robot's clock stands still while it is thought, in a simulation,
the wall's goes on; commands and pictures fit together on the robot's only. Every observation and every command says
both, so the second around a message tells its time, and no other needs to be read for it.
"""

from __future__ import annotations

import bisect
import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import RecordingFailed
from ..recording import Episode

#: Blocks of which the times are kept: a few kilobytes each.
_KEPT = 4096
#: What says both times.
_KNOTS = ("/observed", "/played")
#: No episode is longer, in seconds.
_LONGEST = 1e9

#: Times of messages, in nanoseconds since the first of them; and seconds of the episode, which never go back.
Knots = tuple[NDArray[np.float64], NDArray[np.float64]]


class Timeline:
    """Times of one episode: nanoseconds since 1970, as messages have them, and seconds of the episode.

    ``duration``: seconds. What it asks of the episode may raise RecordingFailed. Safe to use from several threads.
    """

    def __init__(self, episode: Episode) -> None:
        self._episode, self._lock = episode, threading.Lock()
        self._known: OrderedDict[int, Knots] = OrderedDict()
        self._blocks = episode.blocks(_KNOTS)
        said = episode.outcome.get("seconds")
        self.duration = float(said) if isinstance(said, (int, float)) else 0.0
        if self._blocks:
            self.duration = max(self.duration, float(self._around(len(self._blocks) - 1)[1][-1]))
        else:
            self.duration = max(self.duration, (episode.end - episode.start) / 1e9)

    def seconds(self, at: Sequence[int]) -> NDArray[np.float64]:
        """Times of messages that are near each other, as seconds of the episode."""
        if not at:
            return np.zeros(0)
        here = np.array([each - self._episode.start for each in at], dtype=np.float64)
        if not self._blocks:  # nothing was observed or played
            return here / 1e9
        first, last = (self._block_at(edge) for edge in (min(at), max(at)))
        found = [self._around(number) for number in range(first, last + 1)]
        wall = np.concatenate([each for each, _ in found])
        order = np.argsort(wall, kind="stable")
        known = np.maximum.accumulate(np.concatenate([each for _, each in found])[order])
        return np.interp(here, wall[order], known)

    def wall(self, seconds: float, *, end: bool = False) -> int:
        """A moment of the episode as the time of messages; of those that have the same, the first, or the last."""
        if not self._blocks:
            return self._episode.start + round(seconds * 1e9)
        number = bisect.bisect_right(range(len(self._blocks)), seconds, key=self._begins) - 1
        wall, known = self._around(max(0, number))
        found = int(np.searchsorted(known, seconds, "right" if end else "left"))
        if found in (0, len(known)) or (not end and known[found] == seconds):
            at = wall[min(found, len(known) - 1)]
        else:
            low, high = known[found - 1], known[found]
            at = wall[found - 1] + (wall[found] - wall[found - 1]) * (seconds - low) / (high - low)
        return self._episode.start + round(float(at))

    # -- inside ----------------------------------------------------------------------------------------
    def _block_at(self, at: int) -> int:
        return max(0, bisect.bisect_right(self._blocks, at, key=lambda block: block.start) - 1)

    def _begins(self, number: int) -> float:
        return float(self._of(number)[1][0])

    def _around(self, number: int) -> Knots:
        """A block's own knots, with one of the next on either side."""
        parts = [self._of(number)]
        if number > 0:
            parts.insert(0, tuple(each[-1:] for each in self._of(number - 1)))  # pyright: ignore[reportArgumentType]
        if number + 1 < len(self._blocks):
            parts.append(tuple(each[:1] for each in self._of(number + 1)))  # pyright: ignore[reportArgumentType]
        wall = np.concatenate([each for each, _ in parts])
        return wall, np.maximum.accumulate(np.concatenate([each for _, each in parts]))

    def _of(self, number: int) -> Knots:
        with self._lock:
            if (known := self._known.get(number)) is not None:
                self._known.move_to_end(number)
                return known
        said = self._episode.read_block(self._blocks[number], _KNOTS)
        both = sorted((each.at - self._episode.start, float(each.message.seconds)) for each in said)
        if wrong := next((at for _, at in both if not abs(at) < _LONGEST), None):
            raise RecordingFailed(f"{self._episode.path.name} is damaged: it says that it is at second {wrong:g}")
        found = np.array([wall for wall, _ in both], np.float64), np.array([at for _, at in both], np.float64)
        with self._lock:
            self._known[number] = found
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return found
