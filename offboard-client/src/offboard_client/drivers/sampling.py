"""Observing the robot for those who watch a run, in between what the policy is asked about."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from ..errors import OffboardError
from ..play import Sample
from ..robots import Asked, Robot, observed
from .telling import Audience

log = logging.getLogger(__name__)

#: A robot that takes a larger share of its control period to be observed would be late with what it plays.
_SHARE = 0.5
_SAME_TIME = 1e-6


class Sampling:
    """Looks for an audience as often as it wants, on the thread that controls the arm, and never makes that late."""

    def __init__(self, robot: Robot, audience: Audience, control_period: float, clock: Callable[[], float]) -> None:
        self._robot, self._audience, self._clock = robot, audience, clock
        self._period = control_period
        hz = audience.sample_hz
        #: Seconds of the robot's time from one to the next, a whole number of control periods; infinite for nobody.
        self.every = control_period * math.ceil(1 / (hz * control_period) - 1e-6) if hz > 0 else math.inf
        self._next = 0.0
        self._took: deque[float] = deque(maxlen=5)
        self._told = False

    def begin(self, at: float) -> None:
        """An episode begins, at this time of the robot's."""
        self._next = at

    def look(self, at: float, seconds: float) -> None:
        """If it is time, observe. ``at``, ``seconds``: on the robot's clock, as of :meth:`saw`."""
        if self.every == math.inf or at < self._next - _SAME_TIME or not self._in_time():
            return
        began = self._clock()
        # By the robot itself: who was told to stop meanwhile has not been asked to go on.
        observation = observed(self._robot)
        self.saw(observation, at, seconds, self._clock(), began, asked=False)

    def saw(
        self, observation: Mapping[str, Any], at: float, seconds: float, now: float, began: float, *, asked: bool
    ) -> None:
        """What was observed, since ``began`` until ``now`` (wall seconds), when the episode was ``seconds`` old."""
        if self.every == math.inf:
            return
        self._took.append(now - began)
        self._next = at + self.every
        with Asked("taken"):
            taken: dict[str, float] = dict(getattr(self._robot, "taken", {}))
        # The map is the driver's, who writes the instruction into it; its arrays stay as they are.
        self._audience.sampled(Sample(dict(observation), now, seconds, 1000 * (now - began), taken, asked))

    def _in_time(self) -> bool:
        if not getattr(self._robot, "realtime", False) or not self._took or median(self._took) <= _SHARE * self._period:
            return True
        if not self._told:
            self._told = True
            log.warning(
                "observing the robot takes %.0f ms of a control period of %.0f ms: who watches the run sees only what "
                "the policy is asked about, and every picture of cameras that others may look at (Robot.live_cameras)",
                1000 * median(self._took), 1000 * self._period,
            )  # fmt: skip
        return False


class Idling:
    """Looks for an audience while the robot stands and a person is waited for, on the thread that controls the arm."""

    def __init__(self, robot: Robot, audience: Audience, clock: Callable[[], float]) -> None:
        self._robot, self._audience, self._clock = robot, audience, clock
        self._every = 1 / audience.idle_hz if audience.idle_hz > 0 else math.inf
        self._next = -math.inf
        self._failed = False

    def look(self) -> None:
        """If it is time, observe. A robot that cannot be observed now is no fault: nothing was asked of it yet."""
        began = self._clock()
        if self._every == math.inf or self._failed or began < self._next:
            return
        try:
            observation = observed(self._robot)
            with Asked("taken"):
                taken: dict[str, float] = dict(getattr(self._robot, "taken", {}))
        except OffboardError as error:
            self._failed = True
            log.warning("the robot is not shown while a person is waited for: %s", error.text)
            return
        now = self._clock()
        self._next = now + self._every
        self._audience.idled(Sample(dict(observation), now, 0.0, 1000 * (now - began), taken))
