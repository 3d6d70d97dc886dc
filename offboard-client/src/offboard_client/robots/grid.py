"""When a robot's set-points are due, on its own clock."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class ControlGrid:
    """The deadlines of control periods: each is the one before it plus the period, so no lateness adds up.

    For the ``apply`` of a robot whose time passes by itself::

        for set_point in set_points:
            grid.next()
            send(set_point)
        grid.rest()

    After an idle time, and for whoever has fallen behind by more than a period, the grid begins anew: nothing is sent
    faster to catch up. One thread's.
    """

    #: How many of the last set-points' times are known.
    KEPT = 2**16

    def __init__(
        self,
        period: float,
        wait: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``period``: seconds. ``wait``: seconds pass, or somebody has ended the wait (``threading.Event.wait``)."""
        self.period = period
        #: When set-points were sent, seconds on ``clock``, the last 65536 of them.
        self.times: deque[float] = deque(maxlen=self.KEPT)
        self._wait, self._clock = wait, clock
        self._due = float("-inf")

    def next(self) -> float:
        """Wait until the next set-point is due; returns when that is, in seconds."""
        self.anew()
        self.rest()
        self.times.append(self._clock())
        due, self._due = self._due, self._due + self.period
        return due

    def anew(self) -> float:
        """Begin anew where the last set-point's time is over for more than a period; seconds since then, else 0."""
        now = self._clock()
        idle = now - self._due
        if idle <= self.period:
            return 0.0
        self._due = now
        return idle

    def rest(self) -> None:
        """Wait until the last set-point's time is over."""
        if (left := self._due - self._clock()) > 0:
            self._wait(left)
