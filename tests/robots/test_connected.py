"""From connect to close: whatever happens between, the robot is told to stop and let go of."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from offboard_client.errors import BadObservation, ConfigurationError, RobotFailed
from offboard_client.robots import Channel, RobotSpec, connected
from offboard_client.robots.sim import SimRobot
from robot_fakes import FakeRobot
from waits import until


def test_it_is_connected_stopped_and_closed() -> None:
    robot = FakeRobot()
    with connected(robot) as found:
        assert found is robot
        assert robot.calls == ["connect"]
    assert robot.calls == ["connect", "stop", "close"]


def test_one_that_cannot_be_connected_is_closed_and_never_told_to_stop() -> None:
    robot = FakeRobot(connect=OSError("no such port"))
    with pytest.raises(RobotFailed, match=r"^the robot failed in connect: OSError: no such port$"), connected(robot):
        raise AssertionError("not reached")
    assert robot.calls == ["connect", "close"]


@pytest.mark.parametrize("error", [BadObservation("no"), ZeroDivisionError("no"), KeyboardInterrupt()])
def test_what_happens_between_is_raised_as_it_is(error: BaseException) -> None:
    robot = FakeRobot()
    with pytest.raises(type(error)) as raised, connected(robot):
        raise error
    assert raised.value is error
    assert robot.calls == ["connect", "stop", "close"]


def test_its_own_errors_keep_their_names() -> None:
    with (
        pytest.raises(ConfigurationError, match="no OpenGL"),
        connected(FakeRobot(connect=ConfigurationError("no OpenGL"))),
    ):
        pass


@pytest.mark.parametrize("call", ["stop", "close"])
def test_one_that_cannot_be_let_go_of_says_so_and_what_had_happened_before(call: str) -> None:
    robot = FakeRobot(**{call: OSError("gone")})
    with pytest.raises(RobotFailed, match=f"^the robot failed in {call}: OSError: gone$"), connected(robot):
        pass
    assert robot.calls == ["connect", "stop", "close"]
    says = f"^the robot failed in {call}: OSError: gone; before that: KeyboardInterrupt$"
    with pytest.raises(RobotFailed, match=says), connected(FakeRobot(**{call: OSError("gone")})):
        raise KeyboardInterrupt


def test_a_channel_names_as_many_numbers_as_it_has() -> None:
    with pytest.raises(ConfigurationError, match=r"shape \(7,\) has an order of 2 names \(a, b\)"):
        Channel(shape=(7,), order=("a", "b"))


def test_a_channel_names_each_number_once() -> None:
    with pytest.raises(ConfigurationError, match=r"order names a twice \(a, b, a\)"):
        Channel(shape=(3,), order=("a", "b", "a"))


@pytest.mark.parametrize(
    ("order", "fits"),
    [
        ((), True),
        (("x", "y", "z", "qw", "qx", "qy", "qz"), True),
        (("x", "y", "z", "qx", "qy", "qz", "qw"), False),
        (("a", "b", "c", "d", "e", "f", "g"), False),
    ],
)
def test_a_pose_is_in_the_protocols_order(order: tuple[str, ...], fits: bool) -> None:
    pose = Channel(shape=(7,), order=order)
    for said in (
        {"measures": {"robot_state.left.ee_pose": pose}, "plays": {}},
        {"measures": {}, "plays": {"target_pose": pose}},
    ):
        if fits:
            RobotSpec(**said, control_period=0.1)
            continue
        with pytest.raises(ConfigurationError, match=r"the protocol has it as x, y, z, w, x, y, z .*leave order away"):
            RobotSpec(**said, control_period=0.1)


@pytest.mark.parametrize("dtype", ["floaty", "str32", "f4,f4", "(99999999999,)f4", "object", "", None])
def test_a_channel_holds_numbers_or_text(dtype: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"dtype is {re.escape(repr(dtype))}; .*\(float64, uint8\), or str"):
        Channel(shape=(7,), dtype=dtype)
    assert {Channel(shape=(), dtype=name).dtype for name in ("str", "bool", "uint8")} == {"str", "bool", "uint8"}


def test_one_that_hangs_in_stop_is_let_go_of_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offboard_client.robots.calls.STOPPING", 0.05)
    go = threading.Event()

    class Hanging(FakeRobot):
        def stop(self) -> None:
            super().stop()
            assert go.wait(60)

    robot = Hanging()
    says = r"did not come back from stop within 0\.05 s of being told to; see .*; before that: ZeroDivisionError: no$"
    try:
        with pytest.raises(RobotFailed, match=says), connected(robot):
            raise ZeroDivisionError("no")
    finally:
        go.set()
    assert robot.calls == ["connect", "stop", "close"]


def test_one_is_told_to_stop_where_no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    robot = FakeRobot()
    with connected(robot):
        monkeypatch.setattr(threading.Thread, "start", start)
    assert robot.calls == ["connect", "stop", "close"]


# -- the simulated arm -------------------------------------------------------------------------------------------


@pytest.fixture
def arm() -> Iterator[SimRobot]:
    with connected(SimRobot()) as robot:
        robot.reset(3)
        yield robot


def test_the_simulated_arm_measures_and_plays_what_it_says(arm: SimRobot) -> None:
    seen = arm.observe()
    assert seen.keys() == arm.spec.measures.keys()
    for name, channel in arm.spec.measures.items():
        assert (seen[name].shape, str(seen[name].dtype)) == (channel.shape, channel.dtype)
    assert arm.spec.cameras.keys() == {"image.wrist", "image.exterior"}


def test_before_it_is_connected_the_simulated_arm_says_what_it_is_and_nothing_else() -> None:
    robot = SimRobot()
    assert "target_pose" in robot.actions
    with pytest.raises(RobotFailed, match="not connected"):
        robot.observe()
    robot.close()


def test_a_stop_from_another_thread_holds_the_simulated_arm_until_it_is_observed_anew(arm: SimRobot) -> None:
    start = arm.observe()["robot_state.q"]
    goal = start + np.array([0.5, 0, 0, 0, 0, 0, 0])
    # An hour of physics, which no machine gets through before the stop.
    moving = threading.Thread(target=arm.apply, args=({"target_joints": goal}, 3600.0))
    began = arm.time
    moving.start()
    until(lambda: arm.time > began, "it moves")
    arm.stop()
    moving.join(60)
    assert not moving.is_alive()
    assert arm.time < 3600
    arm.apply({"target_joints": goal}, 1.0)
    before = arm.time
    arm.apply({"target_joints": goal}, 1.0)
    assert arm.time == before
    held = arm.observe()["robot_state.q"]
    assert abs(held[0] - goal[0]) > 0.4
    arm.apply({"target_joints": goal}, 1.0)
    arm.apply({}, 1.0)
    np.testing.assert_allclose(arm.observe()["robot_state.q"], goal, atol=1e-3)


@pytest.mark.parametrize("period", [0, -0.01, 2.0, float("nan"), True, "0.01", None])
def test_a_spec_has_a_control_period(period: Any) -> None:
    with pytest.raises(ConfigurationError, match="above 0 and at most 1"):
        RobotSpec(measures={}, plays={}, control_period=period)
