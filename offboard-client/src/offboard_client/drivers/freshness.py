"""Whether what a robot observed was taken together, and of late."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..errors import RobotFailed
from ..robots import Asked, Robot


class Freshness:
    """Knows how far apart cameras and state may be. Without a limit in the robot's spec everything is together."""

    #: Seconds that a robot has to take everything together.
    PATIENCE = 5.0
    #: Seconds that two readings of one clock may be apart.
    AHEAD = 1.0

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        spec: Any = getattr(robot, "spec", None)
        self._max_skew: float | None = getattr(spec, "max_skew", None)
        self._stale_after: float | None = getattr(spec, "stale_after", None)
        self._apart_since: float | None = None

    def together(self, names: Iterable[str], at: float) -> bool:
        """Whether ``names``, as observed ``at``, are one observation; where not, the robot is to be asked again.

        ``at``: ``time.monotonic()`` seconds. Raises RobotFailed for a name that has frozen, and for a robot that takes
        nothing together for 5 s.
        """
        if (self._max_skew is None and self._stale_after is None) or not (names := list(names)):
            return True
        with Asked("taken"):
            times = self._robot.taken
            taken = {name: times.get(name, at) for name in names}
            # What is no time is as old as can be.
            taken = {name: time if math.isfinite(time) else -math.inf for name, time in taken.items()}
        oldest, newest = min(taken, key=taken.__getitem__), max(taken, key=taken.__getitem__)
        if taken[newest] - at > self.AHEAD:
            raise RobotFailed(
                f"{newest} was taken {taken[newest] - at:.3g} s from now: its times are of another clock than "
                "time.monotonic(), and nobody could tell when it freezes"
            )
        if self._stale_after is not None and not at - taken[oldest] <= self._stale_after:
            raise RobotFailed(
                f"{oldest} has frozen: what the robot observed of it is {at - taken[oldest]:.2f} s old, and "
                f"{self._stale_after:g} s are allowed. See whether the camera or sensor still delivers"
            )
        if self._max_skew is None or taken[newest] - taken[oldest] <= self._max_skew:
            self._apart_since = None
            return True
        self._apart_since = at if self._apart_since is None else self._apart_since
        if at - self._apart_since >= self.PATIENCE:
            raise RobotFailed(
                f"for {self.PATIENCE:g} s the robot has taken nothing together: {oldest} is "
                f"{taken[newest] - taken[oldest]:.3f} s older than {newest}, and max_skew allows {self._max_skew:g} s. "
                "See whether that camera is slower than its rate, or its times are of another clock than the others'"
            )
        return False
