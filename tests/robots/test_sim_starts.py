"""What of the simulated arm's starts can be chosen, and how it is pushed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from offboard_client.errors import ConfigurationError
from offboard_client.robots import connected
from offboard_client.robots.sim import CUBES, SimOptions, SimRobot, make_sim

#: What the seeds 0 and 1 have always begun with (x, y of each cube): evaluations rest on it.
STARTS = {
    0: [
        (0.5604892434164797, 0.020939995903402953),
        (0.605715933233309, 0.15160970597833545),
        (0.4006024700374326, 0.17155405276203328),
    ],
    1: [
        (0.4900238100012155, 0.023804970083068533),
        (0.4060630049134751, 0.12168629216390714),
        (0.573454314754249, -0.0944664819400104),
    ],
}


def cubes(robot: SimRobot, seed: int) -> np.ndarray:
    robot.reset(seed)
    return np.array([robot.cube(name) for name in CUBES])


def turned(poses: np.ndarray) -> np.ndarray:
    """How far each is turned about z, rad."""
    return 2 * np.arctan2(poses[:, 6], poses[:, 3])


def test_the_starts_of_seeds_are_what_they_were() -> None:
    robot = SimRobot()
    for seed, expected in STARTS.items():
        np.testing.assert_array_equal(cubes(robot, seed)[:, :2], expected)


@pytest.mark.parametrize("spread", [0.0, 0.25, 1.0])
def test_cubes_lie_around_their_own_places(spread: float) -> None:
    robot = SimRobot(spread=spread)
    starts = np.array([cubes(robot, seed) for seed in range(60)])
    reach = starts[:, :, :2].max(axis=0) - starts[:, :, :2].min(axis=0)
    assert (reach <= np.array([0.22, 0.48]) * spread + 1e-9).all()
    assert (reach >= np.array([0.22, 0.48]) * spread * 0.7).all()
    angles = np.abs([turned(each) for each in starts])
    assert angles.max() <= np.pi * spread + 1e-9
    assert angles.max() >= np.pi * spread * 0.8


def test_cubes_that_leave_no_room_for_the_third_are_laid_anew() -> None:
    start = cubes(SimRobot(spread=0.25), 10043)[:, :2]  # red and green lie near each other, and blue goes nowhere
    apart = [float(np.linalg.norm(start[one] - start[other])) for one, other in ((0, 1), (0, 2), (1, 2))]
    assert min(apart) >= 0.11


def test_pictures_have_the_size_that_was_asked_for() -> None:
    with connected(make_sim(SimOptions(image_size=64))) as robot:
        assert robot.spec.cameras["image.wrist"].shape == robot.observe()["image.wrist"].shape == (64, 64, 3)


def way(robot: SimRobot, seed: int) -> np.ndarray:
    """Where the joints are while they are commanded to stay."""
    robot.reset(seed)
    home = robot.state()["robot_state.q"]
    found = []
    for _ in range(45):
        robot.apply({"target_joints": home}, 1 / 15)
        found.append(robot.state()["robot_state.q"] - home)
    return np.array(found)


def test_pushes_take_the_arm_off_what_it_is_commanded_and_let_go() -> None:
    steady, pushed = SimRobot(), SimRobot(pushes=0.02)
    assert np.abs(way(steady, 3)).max() < 1e-3
    off = way(pushed, 3)
    assert 0.01 < np.abs(off).max() < 0.1
    assert np.abs(off).max(axis=1).min() < 0.005  # and back
    np.testing.assert_array_equal(off, way(pushed, 3))
    assert (off != way(pushed, 4)).any()


def test_what_is_commanded_is_not_what_was_pushed() -> None:
    """A push does not stay in what the next command begins from."""
    pushed = SimRobot(pushes=0.02)
    pushed.reset(3)
    pose = pushed.state()["robot_state.ee_pose"]
    for _ in range(60):
        pushed.apply({"target_pose": pose}, 1 / 15)
    places = []
    for _ in range(60):
        pushed.apply({"target_grip": [0.0]}, 1 / 15)
        places.append(pushed.state()["robot_state.ee_pose"][:3])
    assert np.linalg.norm(np.median(places, axis=0) - pose[:3]) < 0.01


@pytest.mark.parametrize(
    "options", [{"image_size": 8}, {"image_size": True}, {"spread": 1.1}, {"spread": float("nan")}, {"pushes": -0.1}]
)
def test_other_values_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="expected"):
        SimOptions(**options)
