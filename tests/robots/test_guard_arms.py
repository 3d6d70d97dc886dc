"""Names, numbers and measurements: what a guard asks of them before it compares anything."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from guarded import ANYWHERE, POSE, guard_of, joints, meta, moved, play, rows
from offboard_client.errors import BadObservation, ConfigurationError, InvalidAction
from offboard_client.play import Guard, SafetyLimits
from planar_arm import HOME, Planar, PlanarArm, Solvable


@pytest.mark.parametrize("name", ["joint_velocity", "pose_delta", "action", "target_jionts", "target_pose.left"])
def test_a_name_that_the_limits_do_not_know_is_refused_and_never_ignored(name: str) -> None:
    says = (
        rf"no action '{name}' that the limits know; .*there are: joint_delta, target_grip, target_joints, target_pose"
    )
    arm = PlanarArm(Solvable())
    arm.actions = frozenset({*arm.actions, name})
    with pytest.raises(ConfigurationError, match=says):
        Guard(arm, SafetyLimits(), meta(name))
    with pytest.raises(InvalidAction, match=says):
        guard_of(arm).plan(rows({name: np.zeros(3)}), arm.observe())


def test_an_arm_of_joints_alone_is_held_by_the_limits_of_joints() -> None:
    arm = PlanarArm()
    guard = Guard(arm, ANYWHERE, meta("target_joints"))
    play(arm, guard, rows(moved(0.1, 0, 0), moved(0.2, 0, 0)))
    np.testing.assert_allclose(arm.joints, joints(0.2, 0, 0))
    with pytest.raises(InvalidAction, match="joint_velocity allows 2"):
        guard.plan(rows(moved(0.2, 0.3, 0)), arm.observe())
    with pytest.raises(InvalidAction, match=r"radians"):
        guard.plan(rows({"target_joints": np.degrees(arm.joints)}), arm.observe())


def test_a_measurement_that_is_lacking_is_named() -> None:
    pose, joints = rows({"target_pose": POSE}), rows(moved(0, 0, 0))
    with pytest.raises(BadObservation, match=r"lacks robot_state\.ee_pose, which target_pose of row 0 .*kinematics"):
        Guard(PlanarArm(), SafetyLimits(), meta("target_pose")).plan(pose, {})
    with pytest.raises(BadObservation, match=r"lacks robot_state\.q, which target_joints of row 0"):
        guard_of(PlanarArm(Planar())).plan(joints, {"robot_state.ee_pose": POSE})
    list(guard_of(PlanarArm(Planar())).plan(pose, {"robot_state.q": HOME}))


def test_kinematics_of_another_tool_than_the_measured_pose_are_found_out() -> None:
    seen = {"robot_state.q": HOME, "robot_state.ee_pose": POSE + np.array([0, 0, 0.1, 0, 0, 0, 0])}
    with pytest.raises(BadObservation, match=r"0\.100 m and 0\.00 rad away .* one tool in one frame"):
        guard_of(PlanarArm(Planar())).plan(rows(moved(0, 0, 0)), seen)


@pytest.mark.parametrize("period", [None, 0, -0.01, math.nan, math.inf, "0.01", True, 2.0])
def test_the_control_period_is_the_robots_and_has_to_be_one(period: Any) -> None:
    arm = PlanarArm(Planar())
    arm.control_period = period
    with pytest.raises(ConfigurationError, match=r"control_period is .* a property of the robot"):
        guard_of(arm)


@pytest.mark.parametrize("fps", [None, 0, -1.0, math.nan, math.inf, "15", 1e-9, 10_001, True])
def test_without_a_rate_nothing_is_played(fps: Any) -> None:
    with pytest.raises(ConfigurationError, match="--fps"):
        guard_of(PlanarArm(Planar()), fps=fps)


# -- the numbers that are handed out, and those that are measured ------------------------------------------------


def test_the_robot_gets_the_numbers_that_were_checked() -> None:
    pose = np.concatenate([POSE[:3], 1.008 * POSE[3:]]).astype(np.float32)
    chunk = rows({"target_pose": pose, "target_grip": [-0.04]}, {"target_grip": np.float32([1.04])}, moved(0, 0, 0))
    first, second, third = guard_of(PlanarArm(Solvable())).plan(chunk, PlanarArm(Planar()).observe())
    assert np.linalg.norm(first.action["target_pose"][3:]) == pytest.approx(1, abs=1e-12)
    np.testing.assert_array_equal(first.action["target_grip"], [0.0])
    np.testing.assert_array_equal(second.action["target_grip"], [1.0])
    for array in (*first.action.values(), *second.action.values(), *third.action.values()):
        assert array.dtype == np.float64
        assert array.flags.writeable
    assert chunk[0]["action"]["target_grip"] == [-0.04]


@pytest.mark.parametrize("value", [["1", "-1.4", "0.4"], [1.0, None, 0.4], [1.0, [2.0], 0.4], {"a": 1}, 1.0])
def test_what_only_looks_like_numbers_is_refused(value: Any) -> None:
    with pytest.raises(InvalidAction, match="target_joints of row 0 must"):
        guard_of(PlanarArm(Solvable())).plan(rows({"target_joints": value}), PlanarArm().observe())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("robot_state.q", [1.0, math.nan, 0.4]),
        ("robot_state.q", "home"),
        ("robot_state.ee_pose", POSE[:6]),
        ("robot_state.ee_pose", 2 * POSE),
        ("grip", [0.0, 0.0]),
    ],
)
def test_a_measurement_that_is_none_is_the_observations_fault(name: str, value: Any) -> None:
    arm = PlanarArm(Solvable())
    seen = {**arm.observe(), name: value}
    with pytest.raises(BadObservation, match=rf"the measured {name}"):
        guard_of(arm, SafetyLimits(grip_velocity=20.0)).plan(rows(moved(0, 0, 0)), seen)


def test_kinematics_that_answer_no_pose_are_the_robots_fault() -> None:
    arm = PlanarArm(Solvable())
    guard = guard_of(arm)
    for answer in (np.zeros(3), np.full(7, np.nan), None):
        arm.kinematics.forward = lambda q, answer=answer: answer
        with pytest.raises(ConfigurationError, match=r"what the robot's kinematics\.forward\(q\) returns"):
            guard.plan(rows(moved(0, 0, 0)), {"robot_state.q": HOME})


def test_kinematics_that_see_the_tool_a_little_beside_the_measured_pose_make_no_speed_of_that() -> None:
    arm = PlanarArm(Solvable())
    seen = {**arm.observe(), "robot_state.ee_pose": POSE + np.array([0.02, 0, 0, 0, 0, 0, 0])}
    limits = SafetyLimits(linear_acceleration=10.0)
    play(arm, guard_of(arm, limits, fps=100), rows(moved(0.001, 0, 0), step=0.01), seen)
    assert len(arm.sent) == 1


def test_where_the_arm_is_by_itself_is_no_command() -> None:
    arm = PlanarArm(Solvable())
    guard = guard_of(arm)
    for nothing in (None, rows({}), rows({"target_grip": [0.5]})):
        play(arm, guard, nothing)
    arm.joints = joints(-0.3, 0, 0)  # an operator has led it by hand
    with pytest.raises(InvalidAction, match=r"moves joint 1 at 3 rad/s"):
        guard.plan(rows(moved(0, 0, 0)), arm.observe())
    play(arm, guard, rows(moved(-0.25, 0, 0)))
    np.testing.assert_allclose(arm.joints, joints(-0.25, 0, 0))


def test_what_the_gripper_was_told_counts_though_the_arm_was_never_commanded() -> None:
    arm = PlanarArm(Solvable())
    guard = guard_of(arm, SafetyLimits(grip_velocity=2.0))
    play(arm, guard, rows({"target_grip": [0.2]}))
    with pytest.raises(InvalidAction, match="moves the gripper at 4/s"):
        guard.plan(rows({"target_grip": [0.6]}), {**arm.observe(), "grip": 0.5})


def test_a_hold_ends_with_the_episode() -> None:
    (hold,) = guard_of(PlanarArm(Solvable()), fps=10).plan(None, PlanarArm().observe(), left=0.078)
    assert hold.seconds == pytest.approx(0.07)
