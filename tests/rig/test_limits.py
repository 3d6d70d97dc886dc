from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from offboard_client.errors import ConfigurationError, InvalidAction
from offboard_client.rig.limits import Limits

POSE = np.array([0.4, 0.0, 0.3, 0.0, 1.0, 0.0, 0.0])
JOINTS = np.array([0.0, -0.8, 0.0, -2.4, 0.0, 1.6, 0.8])
MEASURED = {"robot_state.ee_pose": POSE, "robot_state.q": JOINTS}


def refuse(*actions: dict[str, Any], limits: Limits | None = None) -> str:
    with pytest.raises(InvalidAction) as caught:
        (limits or Limits()).check(actions, MEASURED)
    return caught.value.text


def turned(angle: float) -> np.ndarray:
    return np.array([0.0, math.cos(angle / 2), math.sin(angle / 2), 0.0])


def test_steps_within_the_limits_pass_and_add_up() -> None:
    far = [{"target_pose": POSE + np.array([0.1 * i, 0, 0, 0, 0, 0, 0]), "target_grip": [i / 4]} for i in range(5)]
    Limits().check(far, MEASURED)
    Limits().check([{"target_joints": JOINTS + 0.4 * i} for i in range(4)], MEASURED)
    Limits().check([{"joint_delta": np.full(7, 0.4)}] * 4, MEASURED)


def test_both_signs_of_a_quaternion_are_the_same_rotation() -> None:
    Limits().check([{"target_pose": np.concatenate([POSE[:3], -POSE[3:]])}], MEASURED)


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
    assert "row 2 is 0.200 m" in refuse(still, still, {"target_pose": POSE + np.array([0, 0.2, 0, 0, 0, 0, 0])})
    assert "row 1 moves joint 3" in refuse(
        {"target_joints": JOINTS}, {"target_joints": JOINTS + np.array([0, 0, 0.6, 0, 0, 0, 0])}
    )


def test_the_workspace_is_a_box() -> None:
    below = POSE - np.array([0, 0, 0.31, 0, 0, 0, 0])
    assert "outside the workspace" in refuse({"target_pose": below}, limits=Limits(position_step=1.0))


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


@pytest.mark.parametrize("number", [0.0, -1.0, math.nan])
@pytest.mark.parametrize("name", ["position_step", "rotation_step", "joint_step"])
def test_a_limit_that_limits_nothing_is_refused(name: str, number: float) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Limits(**{name: number})


@pytest.mark.parametrize("low", [1.0, math.nan])
def test_a_workspace_without_a_point_is_refused(low: float) -> None:
    with pytest.raises(ConfigurationError, match="workspace_low"):
        Limits(workspace_low=(-0.85, low, 0.0))


def test_the_limits_can_be_tightened() -> None:
    target = {"target_pose": np.concatenate([POSE[:3], turned(0.2)])}
    Limits().check([target], MEASURED)
    assert "11 degrees" in refuse(target, limits=Limits(rotation_step=0.1))
