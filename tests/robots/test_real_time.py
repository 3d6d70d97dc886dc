"""The simulated arm at wall speed. Wall time is only ever a lower bound here."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from offboard_client.errors import ConfigurationError, RobotFailed
from offboard_client.robots import connected
from offboard_client.robots.sim import RayRenderer, SimOptions, SimRobot, make_sim

PATIENCE = 60.0


@pytest.fixture(scope="module")
def shared() -> Iterator[SimRobot]:
    with connected(make_sim(SimOptions(clock="real"))) as robot:
        yield robot


@pytest.fixture
def robot(shared: SimRobot) -> SimRobot:
    shared.reset(3)
    return shared


def test_lockstep_is_the_default_and_says_nothing_of_cameras() -> None:
    lockstep, real = make_sim(SimOptions()), make_sim(SimOptions(clock="real", camera_rate=20))
    assert (lockstep.realtime, real.realtime) == (False, True)
    assert lockstep.spec.max_skew is None
    assert real.spec.cameras["image.wrist"].rate == 20
    assert real.spec.measures.keys() == lockstep.spec.measures.keys()
    with pytest.raises(ConfigurationError, match="camera rate is 0"):
        SimOptions(camera_rate=0)


def test_every_control_period_has_its_set_point_at_its_deadline(robot: SimRobot) -> None:
    """Commands follow each other on one grid; where there is time for it none begins early."""
    robot.observe()
    assert robot.grid is not None
    robot.grid.times.clear()
    began = time.monotonic()
    for _ in range(10):
        robot.apply({}, 0.05)
    # The first one's deadline may be over, by a control period at most.
    assert time.monotonic() - began >= 0.49
    assert len(robot.grid.times) == 50
    assert np.all(np.array(robot.grid.times) - began >= 0.01 * (np.arange(50) - 1)), "late, never early"


def test_it_follows_its_commands_as_the_one_that_waits(robot: SimRobot) -> None:
    target = robot.observe()["robot_state.q"] + 0.1
    robot.apply({"target_joints": target}, 0.5)
    robot.apply({}, 0.5)
    np.testing.assert_allclose(robot.state()["robot_state.q"], target, atol=1e-3)


def test_what_falls_falls_while_nobody_calls(robot: SimRobot) -> None:
    """A cube in the air, without an apply."""
    robot.observe()
    robot._data.joint("red_cube").qpos[2] += 0.2
    end = time.monotonic() + PATIENCE
    while robot.cube("red_cube")[2] > 0.03 and time.monotonic() < end:
        robot.state()
    assert robot.cube("red_cube")[2] < 0.03, "it lies on the table"


def test_a_simulated_second_is_a_second(robot: SimRobot) -> None:
    """It is never ahead of the wall, by more than the control period that it is in."""
    before, began = robot.time, time.monotonic()
    for _ in range(5):
        robot.observe()
        robot.apply({}, 0.1)
        assert 0 < robot.time - before <= time.monotonic() - began + 0.02
    assert robot.time - before >= 0.49


def test_it_observes_what_its_cameras_have_taken_and_says_when(robot: SimRobot) -> None:
    reset = time.monotonic()
    robot.reset(4)
    seen, now = robot.observe(), time.monotonic()
    assert robot.taken.keys() == seen.keys()
    assert all(reset <= at <= now for at in robot.taken.values())
    assert seen["image.wrist"].shape == (224, 224, 3)


def test_after_a_reset_nobody_sees_what_was_before(robot: SimRobot) -> None:
    before = robot.observe()
    robot.reset(99)
    after = robot.observe()
    assert not np.array_equal(before["image.exterior"], after["image.exterior"])
    with connected(SimRobot()) as other:
        other.reset(99)
        np.testing.assert_array_equal(other.observe()["image.exterior"], after["image.exterior"])


def test_the_state_does_not_wait_for_cameras_and_lets_nothing_move_that_was_stopped(robot: SimRobot) -> None:
    robot.observe()
    robot.stop()
    measured = robot.state()
    assert measured.keys() == {"robot_state.ee_pose", "robot_state.q", "robot_state.dq", "grip"}
    robot.apply({"target_joints": measured["robot_state.q"] + 0.05}, 0.5)
    np.testing.assert_allclose(robot.state()["robot_state.q"], measured["robot_state.q"], atol=1e-3)


def test_a_control_loop_does_not_wait_for_cameras_that_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The camera's thread is stuck in a picture; the arm observes, with an older one, and moves on."""
    stuck, go_on = threading.Event(), threading.Event()
    render, asked = RayRenderer.render, []

    def slow(self: RayRenderer, data: Any, camera: str) -> Any:
        asked.append(camera)
        if len(asked) > 4:
            stuck.set()
            assert go_on.wait(PATIENCE)
        return render(self, data, camera)

    monkeypatch.setattr(RayRenderer, "render", slow)
    with connected(SimRobot(clock="real")) as robot:
        try:
            robot.observe()
            while not stuck.is_set():
                robot.apply({}, 0.02)
            last = robot.observe()
            assert robot.observe()["image.wrist"] is last["image.wrist"]
            taken = robot.taken["image.wrist"]
            robot.apply({}, 0.02)
            robot.observe()
            assert robot.taken["image.wrist"] == taken
        finally:
            go_on.set()


def test_a_camera_that_fails_is_an_error_of_whoever_observes(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: RayRenderer, data: Any, camera: str) -> Any:
        raise MemoryError("no room for a picture")

    monkeypatch.setattr(RayRenderer, "render", broken)
    with connected(SimRobot(clock="real")) as robot, pytest.raises(RobotFailed, match="no room for a picture"):
        robot.observe()


def test_its_thread_ends_with_it() -> None:
    with connected(SimRobot(clock="real")) as robot:
        robot.observe()
        assert any(each.name == "offboard-sim-cameras" and each.is_alive() for each in threading.enumerate())
    mine = [each for each in threading.enumerate() if each.name == "offboard-sim-cameras"]
    assert len(mine) <= 1, "the shared one's may be there"
