"""Names of a robot's own that mean joints: the limits hold for what they mean, and that is what is played."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from offboard_client.errors import ConfigurationError, InvalidAction
from offboard_client.play import Guard, SafetyLimits
from offboard_client.robots import Channel, DryRobot, Robot, RobotSpec, Translation, Vector

JOINTS = Channel(shape=(2,), unit="rad")
ANYWHERE = SafetyLimits(workspace_low=None, workspace_high=None)


class Geared(Robot):
    """Two joints and a gripper, also by the ticks of its motors: a hundred to a radian."""

    spec = RobotSpec(
        measures={"robot_state.q": JOINTS},
        plays={
            "target_joints": JOINTS,
            "target_grip": Channel(shape=(1,)),
            "ticks": Channel(shape=(3,), low=(-90, -90, 0), high=(90, 90, 10)),
        },
        control_period=0.1,
    )

    def __init__(self, names: tuple[str, ...] = ("target_joints", "target_grip"), **other: Vector) -> None:
        self.other = other
        self.translations = {"ticks": Translation(names, self.meaning)}

    def meaning(self, ticks: Vector) -> Mapping[str, Vector]:
        return {"target_joints": ticks[:2] / 100, "target_grip": ticks[2:] / 10, **self.other}

    def observe(self) -> dict[str, Any]:
        return {"robot_state.q": np.zeros(2)}

    def apply(self, action: Mapping[str, Any], seconds: float) -> None:
        raise AssertionError("nothing is played here")

    def stop(self) -> None:
        pass


def plan(robot: Robot, limits: SafetyLimits = ANYWHERE, **action: Any) -> list[dict[str, Any]]:
    guard = Guard(robot, limits, {"action": {name: {} for name in action}, "action_fps": 10.0})
    rows = [{"action": {name: np.array(value) for name, value in action.items()}, "timestamp": 0.0}]
    return [dict(command.action) for command in guard.plan(rows, robot.observe())]


@pytest.mark.parametrize("robot", [Geared(), DryRobot(Geared())], ids=["itself", "in a dry run"])
def test_what_it_means_is_what_is_played(robot: Robot) -> None:
    (action,) = plan(robot, ticks=[10, -20, 5])
    assert action.keys() == {"target_joints", "target_grip"}
    np.testing.assert_allclose(action["target_joints"], [0.1, -0.2])
    np.testing.assert_allclose(action["target_grip"], [0.5])


def test_the_limits_hold_for_what_it_means() -> None:
    with pytest.raises(InvalidAction, match=r"moves joint 2 at 2\.1 rad/s"):
        plan(Geared(), ticks=[10, -21, 5])
    with pytest.raises(InvalidAction, match=r"number 1 of ticks of row 0 is 91; -90 … 90"):
        plan(Geared(), ticks=[91, 0, 5])
    with pytest.raises(InvalidAction, match=r"closes the gripper to 0\.5; 0 … 0\.4"):
        plan(Geared(), SafetyLimits(workspace_low=None, workspace_high=None, grip_high=0.4), ticks=[0, 0, 5])
    with pytest.raises(ConfigurationError, match="workspace cannot be held for target_joints"):
        plan(Geared(), SafetyLimits(), ticks=[0, 0, 5])
    with pytest.raises(InvalidAction, match="ticks commands target_grip, which the row commands, too"):
        plan(Geared(), ticks=[0, 0, 5], target_grip=[0.5])


def test_a_meaning_that_nobody_checks_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"says that ticks means torque.*What nothing checks is not played"):
        plan(Geared(("torque",)), ticks=[0, 0, 5])
    with pytest.raises(ConfigurationError, match=r"means target_joints, target_grip, and it returned .*torque"):
        plan(Geared(torque=np.zeros(1)), ticks=[0, 0, 5])
