"""A task starts where its seed says, and judges without being asked twice."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ..play import RobotLimits, read_place
from ..plugins import Chosen
from ..robots import Robot, RobotEntry, Task, make_task
from ._tried import Tried


class TaskLaws(Tried):
    """What ``offboard run`` relies on, beside the robot. ``instruction``: one that the task can judge, or None.

    ``limits``: the robot's.
    """

    instruction: str | None = None
    limits = RobotLimits()

    @pytest.fixture
    def task(self, chosen: Chosen[RobotEntry], robot: Robot) -> Task:
        """What is evaluated on the robot."""
        return make_task(chosen, robot, self.instruction)

    def begin(self, robot: Robot, task: Task, seed: int) -> None:
        """As a driver does: the arm to where the task says that it starts, within ``limits``; then the scene."""
        start = getattr(task, "start", None)
        if start is not None and (stated := start(seed)) is not None:
            robot.observe()
            guard = self.limits.guard(robot, {"action_fps": 10.0})
            for command in guard.bring(read_place(stated, "the task's start"), robot.state):
                command.play_on(robot)
        task.reset(seed)

    def test_a_seed_says_where_an_episode_starts(self, robot: Robot, task: Task) -> None:
        """Again and again, whatever was played in between.

        Where time goes on by itself, what stands still trembles between its beginning and the look: within 0.001.
        """
        tremble = 1e-3 if getattr(robot, "realtime", False) else 0.0
        seen: list[dict[str, Any]] = []
        for seed in (3, 4, 3):
            self.begin(robot, task, seed)
            seen.append(robot.observe())
        for name, value in seen[0].items():
            if tremble and np.asarray(value).dtype.kind in "fiu":
                np.testing.assert_allclose(seen[2][name], value, rtol=0.0, atol=tremble, err_msg=name)
            else:
                np.testing.assert_array_equal(seen[2][name], value, err_msg=name)

    def test_it_judges_and_is_told(self, robot: Robot, task: Task) -> None:
        """``succeeded`` is a bool, or None where nobody can tell, and changes nothing; the instruction is a text.

        ``over``, where there is one, is a bool, and ``scores`` are finite numbers.
        """
        self.begin(robot, task, 0)
        judged = task.succeeded()
        assert judged is None or type(judged) is bool
        assert task.succeeded() is judged
        over, scores = getattr(task, "over", None), getattr(task, "scores", None)
        assert over is None or type(over()) is bool
        measured: dict[str, Any] = {} if scores is None else scores()
        for name, value in measured.items():
            assert isinstance(value, int | float), f"the score {name} is {value!r}; expected a finite number"
            assert math.isfinite(value), f"the score {name} is {value!r}; expected a finite number"
        assert task.instruction is None or task.instruction.strip()
        if self.instruction is not None:
            assert task.instruction == self.instruction
