"""A task starts where its seed says, and judges without being asked twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ..plugins import Chosen
from ..robots import Robot, RobotEntry, Task, make_task
from ._tried import Tried


class TaskLaws(Tried):
    """What ``offboard run`` relies on, beside the robot. ``instruction``: one that the task can judge, or None."""

    instruction: str | None = None

    @pytest.fixture
    def task(self, chosen: Chosen[RobotEntry], robot: Robot) -> Task:
        """What is evaluated on the robot."""
        return make_task(chosen, robot, self.instruction)

    def test_a_seed_says_where_an_episode_starts(self, robot: Robot, task: Task) -> None:
        """Again and again, whatever was played in between."""
        seen: list[dict[str, Any]] = []
        for seed in (3, 4, 3):
            task.reset(seed)
            seen.append(robot.observe())
        for name, value in seen[0].items():
            np.testing.assert_array_equal(seen[2][name], value, err_msg=name)

    def test_it_judges_and_is_told(self, task: Task) -> None:
        """``succeeded`` is a bool, or None where nobody can tell, and changes nothing; the instruction is a text."""
        task.reset(0)
        judged = task.succeeded()
        assert judged is None or type(judged) is bool
        assert task.succeeded() is judged
        assert task.instruction is None or task.instruction.strip()
        if self.instruction is not None:
            assert task.instruction == self.instruction
