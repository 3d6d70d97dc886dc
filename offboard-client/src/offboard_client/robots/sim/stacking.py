"""The simulation's task, set up and judged."""

from __future__ import annotations

import numpy as np

from .robot import SimRobot
from .tasks import CUBE_SIZE, StackTask


def make_stacking(robot: SimRobot, instruction: str | None) -> Stacking:
    """What ``offboard run sim`` judges. Raises BadParameter for a sentence that it does not understand."""
    return Stacking(robot, StackTask() if instruction is None else StackTask.parse(instruction))


class Stacking:
    """One cube is to be put on another. A :class:`~offboard_client.robots.Task`."""

    def __init__(self, robot: SimRobot, task: StackTask | None = None) -> None:
        self._robot = robot
        self._task = task or StackTask()

    @property
    def instruction(self) -> str:
        """The sentence."""
        return self._task.instruction

    def reset(self, seed: int) -> None:
        """The arm near its home posture, the cubes at random places on the table."""
        self._robot.reset(seed)

    def succeeded(self) -> bool:
        """The cube rests on the other one, and the gripper has let go of it."""
        name = f"{self._task.top}_cube"
        offset = self._robot.cube(name)[:3] - self._robot.cube(f"{self._task.bottom}_cube")[:3]
        on_top = float(np.linalg.norm(offset[:2])) < CUBE_SIZE / 2 and abs(float(offset[2]) - CUBE_SIZE) < 0.005
        return on_top and self._robot.cube_speed(name) < 0.02 and not self._robot.touches_gripper(name)
