"""An arm that plays on the wall clock, and a policy that goes on from where it was seen, with every answer marked."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from offboard_client.robots import ControlGrid
from offboard_core import Chunk, Field, InferContext, Policy, Session

JOINTS, PERIOD, FPS, STEPS = 3, 0.02, 10.0, 12
#: How far a joint goes in one step, rad; at ``FPS`` half of ``FASTEST``.
STRIDE, FASTEST = 0.05, 1.0
#: Of the circle that an arm of joints with ranges goes on, rad.
RADIUS = 0.4
#: Observations are numbered, and an action says with its grip which one it was made of.
MARKS = 4096

INPUTS = {
    "robot_state.q": Field(shape=(-1,), dtype="float32", unit="rad"),
    "number": Field(shape=(1,), dtype="float32"),
    "task": Field(dtype="str", required=False),
}
OUTPUTS = {
    "target_joints": Field(shape=(-1,), unit="rad", kind="absolute_joints"),
    "target_grip": Field(shape=(1,), unit="0 open, 1 closed", kind="grip"),
}


@dataclass(frozen=True)
class Played:
    """A command. ``began``: when the driver had the arm for itself before, s. ``set_points``: (n + 1, joints)."""

    began: float
    number: int | None
    set_points: Any


class RealTimeArm:
    """Follows its set-points, one in each control period. Is its own task."""

    actions = frozenset(OUTPUTS)
    control_period = PERIOD
    kinematics: Any = None
    leader = None
    realtime = True
    instruction = "go on"

    def __init__(self) -> None:
        self.q = np.zeros(JOINTS)
        self.seen: list[float] = []
        self.played: list[Played] = []
        self._stopped = threading.Event()
        self._grid = ControlGrid(PERIOD, self._stopped.wait)
        self._free = time.monotonic()

    def reset(self, seed: int) -> None:
        """Starts where it is."""

    def observe(self) -> dict[str, Any]:
        self._stopped.clear()
        self.seen.append(time.monotonic())
        return {**self.state(), "number": np.array([len(self.seen) - 1.0])}

    def state(self) -> dict[str, Any]:
        return {"robot_state.q": self.q.copy()}

    def apply(self, action: Mapping[str, Any], seconds: float) -> None:
        periods = round(seconds / PERIOD)
        assert periods >= 1
        assert abs(periods * PERIOD - seconds) < 1e-9
        began = self._free
        goal = np.asarray(action["target_joints"]) if "target_joints" in action else self.q
        number = round(float(action["target_grip"][0]) * MARKS) if action else None
        points = [self.q]
        for i in range(periods):
            if self._stopped.is_set():
                break
            self._grid.next()
            points.append(points[0] + (goal - points[0]) * (i + 1) / periods)
            self.q = points[-1]
        self._grid.rest()
        self.played.append(Played(began, number, np.array(points)))
        self._free = time.monotonic()

    @property
    def newest(self) -> int:
        """The number of the observation of which the newest was made that it played."""
        return max((each.number for each in self.played if each.number is not None), default=-1)

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None: ...

    def succeeded(self) -> bool | None:
        return None


class GoesOn(Policy["GoingOn"]):
    """A stride a step: all joints straight on, or the first two of them on a circle about ``centre``.

    ``way``: of this model, 1 or -1. ``numbers``: of what it was asked.
    """

    context = frozenset({"prefix", "delay_steps"})

    def __init__(self, numbers: list[int], way: float = 1.0, centre: Any = None) -> None:
        self.numbers, self.way, self.centre = numbers, way, centre

    def ahead(self, q: Any) -> Any:
        """The next steps from there."""
        strides = np.arange(1, STEPS + 1) * self.way * STRIDE
        if self.centre is None:
            return q + strides[:, None]
        joints = np.tile(q, (STEPS, 1))
        turn = np.arctan2(*(q[:2] - self.centre)) + strides / RADIUS
        joints[:, :2] = self.centre + RADIUS * np.stack([np.sin(turn), np.cos(turn)], axis=1)
        return joints

    def new_session(self, params: Any) -> "GoingOn":
        return GoingOn(self)


class GoingOn(Session):
    def __init__(self, policy: GoesOn) -> None:
        self._policy = policy

    def infer(self, inputs: Any, context: InferContext) -> Chunk:
        number = int(inputs["number"][0])
        self._policy.numbers.append(number)
        joints = self._policy.ahead(np.asarray(inputs["robot_state.q"], np.float64))
        if context.prefix is not None and (delay := context.delay_steps):
            before = context.prefix.columns()["target_joints"][:delay]
            joints = np.concatenate([before, self._policy.ahead(before[-1])])[:STEPS]
        return Chunk({"target_joints": joints, "target_grip": np.full((STEPS, 1), number / MARKS)})
