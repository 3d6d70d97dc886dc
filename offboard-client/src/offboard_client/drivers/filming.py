"""Every picture of cameras that take them by themselves, for those who watch a run: the arm waits for none of it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from ..errors import told
from ..play import Frame
from ..robots import Asked, Cameras, Robot
from .telling import Audience

log = logging.getLogger(__name__)

#: Pictures a second of a camera that does not say how many it takes; and how often it is looked at meanwhile: a look
#: that comes late by half a picture's time misses none.
_RATE, _LOOKS = 30.0, 2.0
#: Seconds from one look to the next at least, and seconds that the last look has to come back.
_SHORTEST, _LEAVING = 0.002, 5.0


class Filming:
    """Looks at a robot's cameras, where it says that others may, on a thread of its own."""

    def __init__(self, robot: Robot, audience: Audience) -> None:
        self._robot, self._audience = robot, audience

    @property
    def cameras(self) -> frozenset[str]:
        """The names of those that are filmed; none where nobody wants it, or the robot lets nobody look."""
        return frozenset() if self._looked_at() is None else frozenset(self._robot.spec.cameras)

    @contextmanager
    def going_on(self) -> Generator[None, None, None]:
        """Within, every picture is told."""
        if (cameras := self._looked_at()) is None:
            yield
            return
        over = threading.Event()
        thread = threading.Thread(target=self._film, args=(cameras, over), name="offboard-filming", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(_LEAVING)

    # -- inside ----------------------------------------------------------------------------------------
    def _looked_at(self) -> Cameras | None:
        return getattr(self._robot, "live_cameras", None) if self._audience.films else None

    def _film(self, cameras: Cameras, over: threading.Event) -> None:
        # What was taken before is of what was before: of another scene, perhaps.
        told_last = dict.fromkeys(self._robot.spec.cameras, time.monotonic())
        rates = [channel.rate or _RATE for channel in self._robot.spec.cameras.values()]
        every = max(1 / (_LOOKS * max(rates, default=_RATE)), _SHORTEST)
        while not over.wait(every):
            try:
                with Asked("live_cameras"):
                    frames = cameras.frames()
            except Exception as error:
                log.warning("the cameras cannot be looked at any more while the arm is played: %s", told(error))
                return
            for name, (picture, at) in frames.items():
                if told_last.get(name, math.inf) < at:
                    told_last[name] = at
                    self._audience.filmed(Frame(name, picture, at))
