from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from offboard_client.errors import InvalidAction
from offboard_client.robots import connected, distance
from offboard_client.robots.sim import SimRobot, Stacking


@pytest.fixture(scope="module")
def shared() -> Iterator[SimRobot]:
    with connected(SimRobot()) as robot:
        yield robot


@pytest.fixture
def robot(shared: SimRobot) -> SimRobot:
    shared.reset(3)
    return shared


def state(robot: SimRobot) -> np.ndarray:
    seen = robot.observe()
    return np.concatenate([seen["robot_state.q"], seen["robot_state.dq"], seen["grip"]])


@pytest.mark.rule("O-2", "O-3", "O-5", "O-6")
def test_it_observes_by_canonical_names_and_units(robot: SimRobot) -> None:
    seen = robot.observe()
    shapes = {name: value.shape for name, value in seen.items()}
    assert shapes == {
        "robot_state.ee_pose": (7,), "robot_state.q": (7,), "robot_state.dq": (7,), "grip": (1,),
        "sim.objects.red_cube": (7,), "sim.objects.green_cube": (7,), "sim.objects.blue_cube": (7,),
        "image.wrist": (224, 224, 3), "image.exterior": (224, 224, 3),
    }  # fmt: skip
    assert seen["image.wrist"].dtype == np.uint8
    for name in shapes:
        if shapes[name] == (7,) and name not in ("robot_state.q", "robot_state.dq"):
            assert np.linalg.norm(seen[name][3:]) == pytest.approx(1)
    assert seen["grip"][0] == pytest.approx(0, abs=1e-6)


def test_an_observation_keeps_its_numbers_when_the_robot_moves_on(robot: SimRobot) -> None:
    seen = robot.observe()
    before = {name: np.array(value) for name, value in seen.items()}
    robot.apply({"joint_delta": np.full(7, 0.1), "target_grip": [1.0]}, 0.5)
    robot.observe()
    for name, value in before.items():
        np.testing.assert_array_equal(seen[name], value)


def test_a_seed_fixes_the_start_and_cubes_lie_apart() -> None:
    with connected(SimRobot()) as first, connected(SimRobot()) as second:
        for seed in range(20):
            first.reset(seed)
            second.reset(seed)
            np.testing.assert_array_equal(state(first), state(second))
            cubes = [first.cube(f"{colour}_cube") for colour in ("red", "green", "blue")]
            for a, b in itertools.combinations(cubes, 2):
                assert np.linalg.norm(a[:2] - b[:2]) > 0.1
        second.reset(99)
        assert (first.cube("red_cube") != second.cube("red_cube")).any()


def test_a_reset_forgets_everything(robot: SimRobot) -> None:
    before = state(robot)
    robot.apply({"joint_delta": np.full(7, 0.2), "target_grip": [1.0]}, 1.0)
    robot.reset(3)
    np.testing.assert_array_equal(state(robot), before)
    assert robot.time == 0


@pytest.mark.rule("R-3")
def test_a_target_pose_is_reached(robot: SimRobot) -> None:
    target = robot.observe()["robot_state.ee_pose"] + [0.05, 0.04, -0.06, 0, 0, 0, 0]
    target.flags.writeable = False  # as the client hands out its rows
    robot.apply({"target_pose": target}, 0.5)
    robot.apply({}, 0.5)
    metres, radians = distance(robot.observe()["robot_state.ee_pose"], target)
    assert metres < 1e-3
    assert radians < 5e-3


@pytest.mark.rule("R-4")
def test_target_joints_are_reached(robot: SimRobot) -> None:
    target = robot.observe()["robot_state.q"] + [0.2, -0.1, 0.1, 0.2, -0.2, 0.1, 0.3]
    robot.apply({"target_joints": target}, 0.5)
    robot.apply({}, 0.5)
    np.testing.assert_allclose(robot.observe()["robot_state.q"], target, atol=1e-3)


@pytest.mark.rule("R-5")
def test_a_joint_delta_is_added_once_to_the_joints_that_are_measured(robot: SimRobot) -> None:
    delta = np.array([0.1, 0, 0, 0.1, 0, 0, -0.1])
    before = robot.observe()["robot_state.q"]
    for _ in range(3):
        measured = robot.observe()["robot_state.q"]
        robot.apply({"joint_delta": delta}, 1.0)
        robot.apply({}, 1.0)
        np.testing.assert_allclose(robot.observe()["robot_state.q"], measured + delta, atol=1e-3)
    np.testing.assert_allclose(robot.observe()["robot_state.q"], before + 3 * delta, atol=3e-3)


@pytest.mark.rule("R-8")
def test_the_gripper_closes_and_opens(robot: SimRobot) -> None:
    for command, grip in ((1.0, 1.0), (0.5, 0.5), (0.0, 0.0), (1.03, 1.0)):
        robot.apply({"target_grip": [command]}, 1.0)
        robot.apply({}, 1.0)
        assert robot.observe()["grip"][0] == pytest.approx(grip, abs=0.02)


def test_an_empty_action_holds_the_last_command(robot: SimRobot) -> None:
    robot.apply({"joint_delta": np.full(7, 0.1), "target_grip": [0.7]}, 1.0)
    robot.apply({}, 0.5)
    before = state(robot)
    robot.apply({}, 2.0)
    np.testing.assert_allclose(state(robot), before, atol=1e-3)


def test_time_passes_in_apply_only_and_adds_up(robot: SimRobot) -> None:
    for _ in range(30):
        robot.observe()
        robot.apply({}, 1 / 15)
    assert robot.time == pytest.approx(2.0, abs=0.002)


def test_a_command_is_approached_in_a_straight_line_of_the_joints(robot: SimRobot) -> None:
    start = robot.observe()["robot_state.q"]
    robot.apply({"target_joints": start + np.array([0.4, 0, 0, 0, 0, 0, 0])}, 1.0)
    speed = robot.observe()["robot_state.dq"][0]
    assert speed == pytest.approx(0.4, abs=0.1)


@pytest.mark.parametrize(
    ("action", "says"),
    [
        ({"joint_velocity": np.zeros(7)}, "cannot play joint_velocity; it plays joint_delta, target_grip"),
        ({"pose_delta": np.zeros(7)}, "cannot play pose_delta"),
        ({"target_pose": np.zeros(7), "target_joints": np.zeros(7)}, "both command the arm"),
        ({"target_joints": np.zeros(6)}, r"shape \(7,\)"),
        ({"target_joints": np.full(7, np.nan)}, "not finite"),
        *(
            (
                {name: np.full(width, far)},
                re.escape(f"{name} holds {far:.4g}; no number of a robot is beyond 9.007e+15"),
            )
            for name, width in (("target_joints", 7), ("joint_delta", 7), ("target_pose", 7), ("target_grip", 1))
            for far in (1e308, -1.7e308, 1e155)
        ),
        ({"target_joints": np.array([0, 0, 0, 0.5, 0, 0, 0])}, "joint 4 to 0.500 rad; its range"),
        ({"joint_delta": np.array([0, 0, 0, 0, 0, 9.0, 0])}, "joint 6"),
        ({"target_pose": np.array([2.0, 0, 0.3, 0, 1, 0, 0])}, "cannot reach"),
        ({"target_pose": np.array([0.4, 0, 0.3, 0, 0, 0, 0])}, "length 0.000"),
        ({"target_grip": np.array([0.1, 0.2])}, r"shape \(1,\)"),
        ({"target_grip": np.array([255.0])}, "0 is open and 1 is closed"),
    ],
)
def test_what_it_cannot_play_is_refused_before_anything_moves(
    robot: SimRobot, action: dict[str, Any], says: str
) -> None:
    before = state(robot)
    with pytest.raises(InvalidAction, match=says):
        robot.apply(action, 0.1)
    assert robot.time == 0
    robot.apply({}, 0.2)
    np.testing.assert_allclose(state(robot), before, atol=1e-3)


@pytest.mark.parametrize("joint", range(7))
def test_it_moves_no_joint_faster_than_such_an_arms_can_whoever_asks(robot: SimRobot, joint: int) -> None:
    most = (2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61)[joint]
    way = np.eye(7)[joint] * (-1 if joint in (3, 5) else 1)
    start = robot.observe()["robot_state.q"]
    for name, begin in (("target_joints", start), ("joint_delta", np.zeros(7))):
        before = state(robot)
        says = rf"^{name} would move joint {joint + 1} at .* rad/s; this arm's moves at {most:g} rad/s at most"
        with pytest.raises(InvalidAction, match=says):
            robot.apply({name: begin + 1.001 * most * 0.1 * way, "target_grip": [1.0]}, 0.1)
        np.testing.assert_array_equal(state(robot), before)
        assert robot.time == 0
    robot.apply({"target_joints": start + 0.999 * most * 0.1 * way}, 0.1)
    robot.apply({}, 0.5)
    assert robot.observe()["robot_state.q"][joint] == pytest.approx((start + 0.999 * most * 0.1 * way)[joint], abs=2e-3)


def test_the_speed_counts_from_the_last_command_and_not_from_what_is_measured(robot: SimRobot) -> None:
    """A delta counts from the measured joints, so one that turns back while the arm lags behind leads far."""
    delta = np.eye(7)[0] * 0.04
    for _ in range(4):
        robot.apply({"joint_delta": delta}, 0.02)
    lag = robot._data.ctrl[0] - robot.observe()["robot_state.q"][0]
    assert lag > 0.01
    with pytest.raises(InvalidAction, match="joint_delta would move joint 1 at"):
        robot.apply({"joint_delta": -delta}, 0.02)


def test_the_task_is_not_done_at_the_start_nor_by_holding_still(robot: SimRobot) -> None:
    task = Stacking(robot)
    assert task.succeeded() is False
    robot.apply({}, 1.0)
    assert task.succeeded() is False


def test_the_arm_does_not_sag_under_its_weight(robot: SimRobot) -> None:
    before = robot.observe()["robot_state.ee_pose"]
    robot.apply({}, 3.0)
    assert distance(robot.observe()["robot_state.ee_pose"], before)[0] < 1e-4
