from __future__ import annotations

import math

import mujoco
import numpy as np
import pytest
from offboard_client.errors import InvalidAction
from offboard_client.robots import distance
from offboard_client.robots.sim import HOME, POSITION_TOLERANCE, ROTATION_TOLERANCE, Kinematics, mjcf
from panda import by_the_table


@pytest.fixture(scope="module")
def arm() -> Kinematics:
    model = mujoco.MjModel.from_xml_string(mjcf())
    return Kinematics(model, [f"joint{i}" for i in range(1, 8)], rest=np.array(HOME))


def matrix_of(pose: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    turn = np.empty(9)
    mujoco.mju_quat2Mat(turn, pose[3:])
    matrix[:3, :3], matrix[:3, 3] = turn.reshape(3, 3), pose[:3]
    return matrix


def some_joints(arm: Kinematics, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(arm.limits[:, 0], arm.limits[:, 1])


def test_forward_kinematics_is_that_of_the_published_table(arm: Kinematics) -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        q = some_joints(arm, rng)
        np.testing.assert_allclose(matrix_of(arm.forward(q)), by_the_table(q[None])[0], atol=1e-9)


def test_at_home_the_gripper_points_straight_down(arm: Kinematics) -> None:
    np.testing.assert_allclose(np.abs(arm.forward(np.array(HOME))[3:]), [0, 1, 0, 0], atol=1e-9)


def test_inverse_kinematics_reaches_poses_over_the_table_within_the_limits(arm: Kinematics) -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        x, y, z = rng.uniform([0.3, -0.35, 0.02], [0.65, 0.35, 0.4])
        yaw = rng.uniform(-math.pi / 3, math.pi / 3)
        target = np.array([x, y, z, 0.0, math.cos(yaw / 2), math.sin(yaw / 2), 0.0])
        q = arm.solve(target, np.array(HOME))
        metres, radians = distance(arm.forward(q), target)
        assert metres < POSITION_TOLERANCE
        assert radians < ROTATION_TOLERANCE
        assert (q >= arm.limits[:, 0]).all()
        assert (q <= arm.limits[:, 1]).all()


def test_the_solution_for_a_small_step_is_a_small_step_of_the_joints(arm: Kinematics) -> None:
    q = np.array(HOME)
    target = arm.forward(q)
    for _ in range(50):
        target = target + np.array([0.004, 0.003, -0.006, 0, 0, 0, 0])
        found = arm.solve(target, q)
        assert np.abs(found - q).max() < 0.1
        q = found


@pytest.mark.parametrize("place", [[1.5, 0.0, 0.3], [0.0, 0.0, -1.0]])
def test_a_pose_out_of_reach_is_an_error_that_says_by_how_much(arm: Kinematics, place: list[float]) -> None:
    with pytest.raises(InvalidAction, match=r"cannot reach .*mm and .*degrees away"):
        arm.solve(np.array([*place, 0.0, 1.0, 0.0, 0.0]), np.array(HOME))


def test_a_pose_that_only_a_joint_beyond_its_stop_would_reach_is_an_error(arm: Kinematics) -> None:
    # Fully stretched up, joint 4 would have to be straight: 0 rad, and its range ends at -0.07.
    q = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    target = arm.forward(q)
    with pytest.raises(InvalidAction):
        arm.solve(target, np.array([0.0, 0.0, 0.0, -0.2, 0.0, 1.0, 0.0]))
