"""What is checked at once and what while the arm moves: everything that is played, and what is refused long before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from offboard_client.errors import InvalidAction
from offboard_client.play import Command, Guard, SafetyLimits
from offboard_client.robots import Vector
from planar_arm import HOME, Planar, PlanarArm

PERIOD = PlanarArm.control_period
AHEAD = 0.1
COUNT = 50


class Counting(Planar):
    """``asked``: how often it was asked where joints lead."""

    asked = 0

    def forward(self, q: Vector) -> Vector:
        self.asked += 1
        return super().forward(q)


def guard(kinematics: Any = None) -> tuple[Guard, PlanarArm]:
    robot: Any = PlanarArm(kinematics or Counting())
    return Guard(robot, SafetyLimits(), {"action_fps": 1 / PERIOD, "action": {"target_joints": {}}}), robot


def commands(jump: int | None = None) -> list[Command]:
    """Smooth, but for one that is far from the one before."""
    way = [0.005 * (i + 1) + (0.2 if i == jump else 0.0) for i in range(COUNT)]
    return [Command({"target_joints": HOME + at}, PERIOD, i) for i, at in enumerate(way)]


def test_what_is_handed_out_is_the_same_however_far_ahead_it_is_checked() -> None:
    for ahead in (PERIOD / 2, AHEAD, 1e9):
        made, robot = guard()
        played = list(made.check(commands(), robot.observe(), ahead))
        whole, robot = guard()
        for one, other in zip(played, whole.check(commands(), robot.observe()), strict=True):
            assert (one.seconds, one.row) == (other.seconds, other.row)
            np.testing.assert_array_equal(one.action["target_joints"], other.action["target_joints"])


@pytest.mark.parametrize("jump", [0, 3, 9, 10, 11, 30, COUNT - 1])
def test_what_is_refused_is_refused_so_long_before_it_would_be_played(jump: int) -> None:
    made, robot = guard()
    handed: list[Command] = []
    with pytest.raises(InvalidAction, match=f"row {jump} moves"):
        handed.extend(made.check(commands(jump), robot.observe(), AHEAD))
    assert len(handed) * PERIOD <= max(jump * PERIOD - AHEAD, 0) + 1e-9
    whole, robot = guard()
    with pytest.raises(InvalidAction, match=f"row {jump} moves"):
        whole.check(commands(jump), robot.observe())


def test_a_plan_that_is_replaced_soon_costs_no_more_than_what_is_played_of_it() -> None:
    kinematics = Counting()
    made, robot = guard(kinematics)
    robot.kinematics = None  # what it says of itself costs nothing here
    made.check(commands(), {"robot_state.q": HOME}, AHEAD)
    at_once = kinematics.asked
    list(made.check(commands(), {"robot_state.q": HOME}))
    assert at_once < (kinematics.asked - at_once) / 3
