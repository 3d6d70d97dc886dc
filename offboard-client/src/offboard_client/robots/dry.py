"""A robot that is observed and never commanded: everything but the motors."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ConfigurationError
from .base import Cameras, Kinematics, Robot, Task
from .grid import ControlGrid
from .poses import Vector


class DryRobot(Robot):
    """Takes the time that commands take, and sends none; not even that it is to stop.

    The arm's own state (``robot_state.q``, ``robot_state.ee_pose``, ``grip``) is where it would be had it followed its
    commands, so that the next chunk begins where the last one led; all else is measured, on an arm that stands still.
    """

    def __init__(self, robot: Robot, kinematics: Kinematics | None = None) -> None:
        """``kinematics``: of a robot that has none of its own."""
        self._robot = robot
        self._arm = kinematics if robot.kinematics is None else robot.kinematics
        self.spec, self.kinematics, self.leader = robot.spec, robot.kinematics, robot.leader
        self.realtime, self.translations = robot.realtime, getattr(robot, "translations", {})
        self._stopped = threading.Event()
        self._grid = ControlGrid(robot.control_period, self._stopped.wait)
        self._led: dict[str, Vector] = {}

    @property
    def live_cameras(self) -> Cameras | None:
        """See :attr:`Robot.live_cameras`. None of a simulation: where nothing is played there is nothing new to see."""
        return None if self.spec.simulated else getattr(self._robot, "live_cameras", None)

    @property
    def taken(self) -> Mapping[str, float]:
        """See :attr:`Robot.taken`."""
        return self._robot.taken

    def connect(self) -> None:
        """Connects the robot, which moves nothing."""
        self._robot.connect()

    def anew(self) -> None:
        """The arm is where it is measured again."""
        self._led.clear()

    def observe(self) -> dict[str, Any]:
        """What the robot observes, with the arm where it would be."""
        self._stopped.clear()
        return self._with_led(self._robot.observe())

    def state(self) -> dict[str, Any]:
        """See :meth:`observe`."""
        return self._with_led(self._robot.state())

    def apply(self, action: Mapping[str, Any], seconds: float, start: Mapping[str, Any] | None = None) -> None:
        """Let the time pass, where it passes by itself; the same errors as the robot's own for what it cannot play."""
        if self._stopped.is_set():
            return
        self._follow(self.checked(action), start)
        if not self.realtime:
            return
        for _ in range(round(seconds / self.control_period)):
            self._grid.next()
            if self._stopped.is_set():
                return
        self._grid.rest()

    def stop(self) -> None:
        """Nothing moves, and nobody is told."""
        self._stopped.set()

    def close(self) -> None:
        """Let go of the robot."""
        self._robot.close()

    def _with_led(self, measured: dict[str, Any]) -> dict[str, Any]:
        return measured | {name: value.copy() for name, value in self._led.items() if name in measured}

    def _follow(self, action: Mapping[str, Vector], start: Mapping[str, Any] | None) -> None:
        if "target_grip" in action:
            self._led["grip"] = action["target_grip"]
        if "target_joints" in action:
            self._lead(action["target_joints"])
        elif "joint_delta" in action:
            self._lead(self._joints(start) + action["joint_delta"])
        elif "target_pose" in action:
            self._lead_to(action["target_pose"], start)

    def _joints(self, start: Mapping[str, Any] | None) -> Vector:
        return np.asarray((self.state() if start is None else start)["robot_state.q"])

    def _lead(self, joints: Vector) -> None:
        self._led["robot_state.q"] = joints
        if self._arm is not None:
            self._led["robot_state.ee_pose"] = self._arm.forward(joints)

    def _lead_to(self, pose: Vector, start: Mapping[str, Any] | None) -> None:
        if self._arm is not None:
            solve: Any = getattr(self._arm, "solve", None)
            if solve is None:
                raise ConfigurationError(
                    "a dry run cannot follow target_pose: this robot's kinematics say where joints lead, and not what "
                    "leads to a pose. Give them solve(pose, near)"
                )
            self._led["robot_state.q"] = solve(pose, self._joints(start))
        self._led["robot_state.ee_pose"] = pose


class DryTask:
    """A robot's task in a dry run: nothing is brought anywhere, but for a simulation's scene, and nobody judges.

    A :class:`~offboard_client.robots.Task`.
    """

    def __init__(self, task: Task, robot: DryRobot) -> None:
        self._task, self._robot = task, robot

    @property
    def instruction(self) -> str | None:
        """The task's own."""
        return self._task.instruction

    def start(self, seed: int) -> dict[str, Vector]:
        """Wherever the arm is: it is not brought home either."""
        return {}

    def reset(self, seed: int) -> None:
        """The arm is where it is measured; a simulation's scene is set up."""
        if self._robot.spec.simulated:
            self._task.reset(seed)
        self._robot.anew()

    def succeeded(self) -> None:
        """None: nothing was done."""
