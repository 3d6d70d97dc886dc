"""The simulated arm in real time, its commands marked as those of :mod:`real_time_arm`."""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from offboard_client.robots.sim import SimRobot
from real_time_arm import MARKS, Played


class RealTimeSim(SimRobot):
    """Is its own task."""

    instruction = "go on"

    def __init__(self) -> None:
        self.seen: list[float] = []
        self.played: list[Played] = []
        super().__init__(clock="real", camera_rate=2.0)
        self.spec = replace(self.spec, measures={"robot_state.q": self.spec.measures["robot_state.q"]})
        self._free = time.monotonic()

    def observe(self) -> dict[str, Any]:
        self.seen.append(time.monotonic())
        observation = super().observe()
        return {**{name: observation[name] for name in ("robot_state.q",)}, "number": np.array([len(self.seen) - 1.0])}

    def apply(self, action: Mapping[str, Any], seconds: float) -> None:
        began = self._free
        number = round(float(action["target_grip"][0]) * MARKS) if action else None
        before = np.array(self._data.ctrl[:7])
        super().apply(action, seconds)
        periods = round(seconds / self.control_period)
        points = np.linspace(before, np.array(self._data.ctrl[:7]), periods + 1)
        self.played.append(Played(began, number, points))
        self._free = time.monotonic()

    @property
    def newest(self) -> int:
        return max((each.number for each in self.played if each.number is not None), default=-1)

    def succeeded(self) -> bool | None:
        return None
