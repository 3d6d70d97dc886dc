"""The limits as numbers: which make sense, and what a chunk that breaks one is told. The chunks are Guard's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from offboard_client.errors import ConfigurationError, InvalidAction
from offboard_client.play import Guard, SafetyLimits
from offboard_client.robots import twists
from robot_fakes import FakeRobot

POSE = np.array([0.4, 0.0, 0.3, 0.0, 1.0, 0.0, 0.0])
JOINTS = np.array([0.0, -0.8, 0.0, -2.4, 0.0, 1.6, 0.8])
MEASURED = {"robot_state.ee_pose": POSE, "robot_state.q": JOINTS}
#: Without kinematics nobody knows where joints lead.
ANYWHERE: dict[str, Any] = {"workspace_low": None, "workspace_high": None}


def plan(*actions: dict[str, Any], **limits: Any) -> None:
    """Rows at 5 Hz."""
    guard = Guard(FakeRobot(), SafetyLimits(**{**ANYWHERE, **limits}), {"action": {}, "action_fps": 5.0})
    guard.plan([{"action": action, "timestamp": i / 5} for i, action in enumerate(actions)], MEASURED)


def refuse(*actions: dict[str, Any], **limits: Any) -> str:
    with pytest.raises(InvalidAction) as caught:
        plan(*actions, **limits)
    return caught.value.text


def turned(angle: float) -> np.ndarray:
    return np.array([0.0, math.cos(angle / 2), math.sin(angle / 2), 0.0])


def test_commands_within_the_limits_pass_and_add_up() -> None:
    far = [{"target_pose": POSE + np.array([0.1 * i, 0, 0, 0, 0, 0, 0]), "target_grip": [i / 4]} for i in range(5)]
    plan(*far)
    plan(*[{"target_joints": JOINTS + 0.4 * i} for i in range(4)])
    plan(*[{"joint_delta": np.full(7, 0.4)}] * 4)


def test_both_signs_of_a_quaternion_are_the_same_rotation() -> None:
    plan({"target_pose": np.concatenate([POSE[:3], -POSE[3:]])})


def test_a_turn_goes_the_same_way_whatever_the_signs_of_its_quaternions() -> None:
    path = np.array([[0, 0, 0, *turned(angle)] for angle in (0.0, 0.1, 0.3, 0.2)])
    flipped = path * np.array([1, 1, 1, -1, -1, -1, -1]) ** np.arange(4)[:, None]
    np.testing.assert_allclose(twists(path, 0.5)[:, 3:], [[0, 0, 0.2], [0, 0, 0.4], [0, 0, -0.2]], atol=1e-12)
    np.testing.assert_allclose(twists(flipped, 0.5), twists(path, 0.5), atol=1e-12)


def test_a_quaternion_with_w_last_is_refused() -> None:
    assert "w x y z" in refuse({"target_pose": np.concatenate([POSE[:3], np.roll(POSE[3:], -1)])})


def test_degrees_for_radians_are_refused() -> None:
    assert "radians" in refuse({"target_joints": np.degrees(JOINTS + 0.01)})
    assert "radians" in refuse({"joint_delta": np.degrees(np.full(7, 0.02))})


def test_swapped_joints_are_refused() -> None:
    assert "order of the joints" in refuse({"target_joints": JOINTS[::-1]})


def test_another_frame_is_refused() -> None:
    assert "frame" in refuse({"target_pose": POSE + np.array([0, 0, 0.2, 0, 0, 0, 0])})


def test_a_jump_inside_the_chunk_is_refused_by_its_row() -> None:
    still = {"target_pose": POSE}
    jump = {"target_pose": POSE + np.array([0, 0.3, 0, 0, 0, 0, 0])}
    assert "target_pose of row 2 moves the end effector at 1.5 m/s" in refuse(still, still, jump)
    assert "target_joints of row 1 moves joint 3 at 3 rad/s" in refuse(
        {"target_joints": JOINTS}, {"target_joints": JOINTS + np.array([0, 0, 0.6, 0, 0, 0, 0])}
    )


def test_the_workspace_is_a_box() -> None:
    box = {"workspace_low": (-0.85, -0.85, 0.0), "workspace_high": (0.85, 0.85, 1.2)}
    guard = Guard(
        FakeRobot(), SafetyLimits(position_offset=1.0, **box), {"action": {"target_pose": {}}, "action_fps": 1.0}
    )
    with pytest.raises(InvalidAction, match="outside the workspace"):
        guard.plan([{"action": {"target_pose": POSE - np.array([0, 0, 0.31, 0, 0, 0, 0])}, "timestamp": 0.0}], MEASURED)


@pytest.mark.parametrize("grip", [-0.06, 1.06, 255.0])
def test_a_grip_outside_its_range_is_refused(grip: float) -> None:
    assert "0 is open and 1 is closed" in refuse({"target_grip": [grip]})


@pytest.mark.parametrize(
    "action",
    [
        {"target_pose": POSE[:6]},
        {"target_pose": POSE.reshape(1, 7)},
        {"target_pose": np.concatenate([POSE[:3], 1.1 * POSE[3:]])},
        {"target_pose": np.concatenate([POSE[:3], np.zeros(4)])},
        {"target_pose": np.full(7, np.nan)},
        {"target_pose": np.full(7, 1e300)},
        {"target_pose": "home"},
        {"target_joints": JOINTS[:6]},
        {"target_joints": np.full(7, np.inf)},
        {"joint_delta": np.zeros(8)},
        {"target_grip": [0.5, 0.5]},
        {"target_grip": [np.nan]},
    ],
)
def test_what_is_no_such_action_is_refused(action: dict[str, Any]) -> None:
    refuse(action)


@pytest.mark.parametrize("number", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize(
    "name",
    [
        "linear_velocity", "angular_velocity", "joint_velocity", "grip_velocity", "linear_acceleration",
        "angular_acceleration", "joint_acceleration", "position_offset", "rotation_offset", "joint_offset",
    ],
)  # fmt: skip
def test_a_limit_that_limits_nothing_is_refused(name: str, number: float) -> None:
    with pytest.raises(ConfigurationError, match=name):
        SafetyLimits(**{name: number})


@pytest.mark.parametrize("numbers", [(), (1.0, math.nan), (1.0, 0.0)])
def test_a_limit_for_each_joint_limits_each(numbers: tuple[float, ...]) -> None:
    with pytest.raises(ConfigurationError, match="joint_velocity"):
        SafetyLimits(joint_velocity=numbers)


@pytest.mark.parametrize(
    "wrong",
    [
        {"linear_velocity": (1.0, 1.0)}, {"linear_velocity": "1"}, {"position_offset": True}, {"joint_offset": (0.5,)},
        {"joint_velocity": "fast"}, {"joint_velocity": [[1.0] * 7]}, {"joint_velocity": (1.0, None)},
        {"joint_acceleration": [[1.0], [1.0, 2.0]]}, {"grip_velocity": {}}, {"linear_velocity": None},
    ],
)  # fmt: skip
def test_what_is_no_such_limit_is_refused_at_once_and_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=rf"^the limit {next(iter(wrong))} is .*; expected a number above 0"):
        SafetyLimits(**wrong)


@pytest.mark.parametrize("numbers", [[2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 0.1], np.array([2.0] * 6 + [0.1])])
def test_limits_of_joints_may_come_as_a_list_or_an_array(numbers: Any) -> None:
    step = {"target_joints": JOINTS + np.array([0, 0, 0, 0, 0, 0, 0.1])}
    assert "joint 7 at 0.5 rad/s; joint_velocity allows 0.1" in refuse(step, joint_velocity=numbers)


@pytest.mark.parametrize("low", [(-0.85, 1.0, 0.0), (-0.85, math.nan, 0.0), None, (0.0, 0.0), ("a", 0.0, 0.0), 0.0])
def test_a_workspace_without_a_point_or_with_half_its_corners_is_refused(low: Any) -> None:
    with pytest.raises(ConfigurationError, match="workspace_low"):
        SafetyLimits(workspace_low=low)


@pytest.mark.parametrize(
    ("low", "high"),
    [(None, 1.0), (1.0, None), (1.0, 1.0), ((0.0, 1.0), (1.0, 1.0)), ((0.0, 0.0), (1.0, 1.0, 1.0)), (-math.inf, 1.0),
     (0.0, math.nan), ("a", 1.0), ([[0.0]], 1.0), ((), ())],
)  # fmt: skip
def test_a_range_of_the_joints_without_a_point_or_with_half_its_ends_is_refused(low: Any, high: Any) -> None:
    with pytest.raises(ConfigurationError, match="joint_low"):
        SafetyLimits(joint_low=low, joint_high=high)


def test_a_range_of_the_joints_may_be_one_for_all() -> None:
    SafetyLimits(joint_low=-3, joint_high=(1, 2, 3))
    SafetyLimits(joint_low=[-3.0, -2.0], joint_high=np.array([1.0, 2.0]))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("low", "high"), [(-0.1, 1.0), (0.0, 1.1), (0.5, 0.5), (math.nan, 1.0), ("0", 1.0), (None, 1.0)]
)
def test_a_range_of_the_gripper_is_within_what_a_closure_is(low: Any, high: Any) -> None:
    with pytest.raises(ConfigurationError, match="grip_low"):
        SafetyLimits(grip_low=low, grip_high=high)


def test_the_limits_can_be_tightened() -> None:
    target = {"target_pose": np.concatenate([POSE[:3], turned(0.2)])}
    plan(target)
    assert "11 degrees" in refuse(target, rotation_offset=0.1)
    assert "turns the end effector at 1 rad/s; angular_velocity allows 0.5" in refuse(target, angular_velocity=0.5)
