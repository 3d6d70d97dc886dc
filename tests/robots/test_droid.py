"""DROID's arm: what a policy says of it in rad, DROID's own numbers on the way, and a velocity that ends."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import droid_standin
import numpy as np
import pytest
from droid_standin import RobotEnv
from offboard_client import cli
from offboard_client.errors import ConfigurationError, InvalidAction, RobotFailed
from offboard_client.play import Guard, SafetyLimits
from offboard_client.robots import connected
from offboard_client.robots.droid import DroidOptions, DroidRobot, make_droid
from offboard_client.testing import RobotConformance
from offboard_core import InferenceServer
from waits import PATIENCE

PERIOD = 1 / 15
HALF = np.full(7, 0.1)
OPEN = SafetyLimits(workspace_low=None, workspace_high=None, joint_velocity=3.0)


@pytest.fixture(autouse=True)
def standin(monkeypatch: pytest.MonkeyPatch) -> None:
    droid_standin.install(monkeypatch)


@pytest.fixture
def robot() -> Iterator[DroidRobot]:
    with connected(make_droid(DroidOptions())) as robot:
        yield robot


@pytest.fixture
def env(robot: DroidRobot) -> RobotEnv:
    return droid_standin.made[-1]


class TestDroid(RobotConformance):
    name = "droid"
    misread = 1000.0


def test_it_measures_what_robotenv_does_in_the_protocols_terms(robot: DroidRobot, env: RobotEnv) -> None:
    seen = robot.observe()
    np.testing.assert_array_equal(seen["robot_state.q"], env.joints)
    # Euler angles of pi, 0 and 0.5: about x first, then about z.
    half = 0.25
    np.testing.assert_allclose(seen["robot_state.ee_pose"], [0.4, 0, 0.3, 0, np.cos(half), np.sin(half), 0], atol=1e-12)
    np.testing.assert_array_equal(seen["grip"], [0.25])
    for name in ("image.wrist", "image.exterior"):
        assert seen[name].shape == (720, 1280, 3)
        np.testing.assert_array_equal(seen[name][0, 0], droid_standin.RGB)
    assert env.resets == 0, "a reset moves the arm beside all limits"
    assert not robot.spec.simulated


@pytest.mark.parametrize("which", [1, 2])
def test_no_set_point_begins_at_a_reading_that_a_second_one_contradicts(
    robot: DroidRobot, env: RobotEnv, which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = robot.observe()["robot_state.q"]
    state, count = robot.state, 0

    def wrong() -> dict[str, Any]:
        nonlocal count
        count += 1
        seen = state()
        return {**seen, "robot_state.q": seen["robot_state.q"] + 2.8 * (np.arange(7) == 1)} if count == which else seen

    monkeypatch.setattr(robot, "state", wrong)
    with pytest.raises(RobotFailed, match="joint 2 is said to be at"):
        robot.apply({"target_joints": home}, PERIOD)
    assert env.sent == []


def test_the_other_camera_and_none(monkeypatch: pytest.MonkeyPatch) -> None:
    droid_standin.install(monkeypatch, hand_camera_id="", varied_camera_1_id="")
    assert not make_droid(DroidOptions()).spec.cameras
    with connected(make_droid(DroidOptions(exterior=2))) as robot:
        assert set(robot.observe()) & set(robot.spec.cameras) == {"image.exterior"}
    droid_standin.install(monkeypatch, varied_camera_2_id="")
    with pytest.raises(ConfigurationError, match=r"varied_camera_2_id in .*parameters\.py is empty"):
        make_droid(DroidOptions(exterior=2))


def test_a_delta_is_the_velocity_that_leads_so_far_and_it_ends_with_0(robot: DroidRobot, env: RobotEnv) -> None:
    before = robot.observe()["robot_state.q"]
    robot.apply({"joint_delta": HALF, "target_grip": [1.0]}, PERIOD)
    np.testing.assert_allclose(env.joints, before + HALF)
    assert env.sent == [("joint_velocity", [0.5] * 7 + [1.0])]
    robot.apply({"joint_delta": HALF}, 2 * PERIOD)
    assert env.sent[1:] == [("joint_velocity", [0.25] * 7 + [1.0])] * 2
    for _ in range(2):
        robot.apply({}, 2 * PERIOD)
    assert env.sent[3:] == [("joint_velocity", [0.0] * 7 + [1.0])]


def test_a_gripper_that_nobody_has_commanded_stays_where_it_is(robot: DroidRobot, env: RobotEnv) -> None:
    robot.observe()
    robot.apply({}, PERIOD)
    assert env.sent == []
    robot.apply({"joint_delta": HALF}, PERIOD)
    assert env.sent[0][1][7] == 0.25


def test_the_way_to_joints_is_even_and_a_gripper_alone_leaves_the_arm(robot: DroidRobot, env: RobotEnv) -> None:
    begin = robot.observe()["robot_state.q"]
    robot.apply({"target_joints": begin + 0.2}, 2 * PERIOD)
    robot.apply({"target_grip": [0.75]}, 2 * PERIOD)
    robot.apply({}, PERIOD)
    assert {space for space, _ in env.sent} == {"joint_position"}
    moved = np.array([sent for _, sent in env.sent]) - [*begin, 0]
    expected = ((0.1, 0.25), (0.2, 0.25), (0.2, 0.5), (0.2, 0.75))
    np.testing.assert_allclose(moved, [[step] * 7 + [grip] for step, grip in expected])
    env.joints += 0.01  # it gives way
    robot.stop()
    robot.apply({"target_joints": begin}, PERIOD)
    robot.observe()
    robot.apply({"target_joints": begin}, 2 * PERIOD)
    np.testing.assert_allclose(env.sent[4][1][:7], begin + 0.105)
    with pytest.raises(InvalidAction, match="command the same joints"):
        robot.apply({"target_joints": begin, "joint_delta": HALF}, PERIOD)


def test_what_droid_would_scale_down_is_refused_with_its_whole_chunk(robot: DroidRobot, env: RobotEnv) -> None:
    guard = Guard(robot, OPEN, {"action": {"joint_delta": {"shape": [7]}}, "action_fps": 15.0})
    seen = robot.observe()
    full, faster = np.full(7, -0.2), HALF + np.eye(7)[3] * 0.11
    rows = [{"action": {"joint_delta": each}, "timestamp": i * PERIOD} for i, each in enumerate((full, faster))]
    says = r"joint_4 of joint_delta( of row 1)? is 0\.21; -0\.2 … 0\.2 are allowed \(rad\)"
    with pytest.raises(InvalidAction, match=says):
        list(guard.plan(rows, seen))
    with pytest.raises(InvalidAction, match=says):
        robot.apply({"joint_delta": faster}, PERIOD)
    with pytest.raises(InvalidAction, match=r"target_grip is 1\.2"):
        robot.apply({"joint_delta": HALF, "target_grip": [1.2]}, PERIOD)
    assert env.sent == []
    for command in guard.plan(rows[:1], seen):
        robot.apply(command.action, command.seconds)
    assert env.sent == [("joint_velocity", [-1.0] * 7 + [0.25])]


def test_a_stop_from_another_thread_ends_a_velocity_with_0(robot: DroidRobot, env: RobotEnv) -> None:
    robot.observe()
    thread = threading.Thread(target=robot.apply, args=[{"joint_delta": HALF * 0.01}, 60.0])
    thread.start()
    while len(env.sent) < 2:
        assert thread.is_alive()
    robot.stop()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    np.testing.assert_array_equal(
        [sent[:7] == [0.0] * 7 for _, sent in env.sent], [False] * (len(env.sent) - 1) + [True]
    )
    sent = len(env.sent)
    robot.apply({"joint_delta": HALF}, PERIOD)
    robot.stop()
    assert len(env.sent) == sent


FAULTS: dict[str, str] = {
    "clips": r"was to send .*0\.75\], and has sent .*0\.5\]: it clips",
    "VGA": r"the camera 11 \(image\.wrist\) delivers \(376, 672, 4\) uint8",
    "exterior": r"no picture of the camera 22, .* as image\.exterior; there are 11_left, 11_right",
    "camera": "a camera delivers no picture; look at its cable",
    "six": r"joint_velocities must have shape \(7,\); got \(6,\)",
    "small": r"or its steps are not 0\.2 rad",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_otherwise_than_it_says_is_a_failure_and_the_arm_is_held(fault: str) -> None:
    with connected(make_droid(DroidOptions())) as robot:
        env = droid_standin.made[-1]
        robot.apply({"joint_delta": HALF, "target_grip": [0.25]}, PERIOD)
        env.fault = fault
        command = {"joint_delta": HALF, "target_grip": [0.75]}
        with pytest.raises(RobotFailed, match=FAULTS[fault]):
            robot.apply(command, PERIOD) if fault in ("clips", "small") else robot.observe()
        env.fault = ""
    assert env.sent[-1][1][:7] == [0.0] * 7
    assert env.closed


def test_another_rate_is_not_driven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RobotEnv, "control_hz", 10)
    with pytest.raises(ConfigurationError, match="10 Hz"), connected(make_droid(DroidOptions())):
        pass


def test_without_droids_package_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(error: Exception) -> None:
        class Finder:
            def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
                if name.startswith("droid"):
                    raise error

        monkeypatch.setattr(sys, "meta_path", [Finder()])

    for name in [name for name in sys.modules if name.partition(".")[0] == "droid"]:
        monkeypatch.delitem(sys.modules, name)
    for error, says in (
        (ModuleNotFoundError(name="droid"), r"git clone .*droid-dataset/droid .*droid\.md"),
        (ModuleNotFoundError(name="zerorpc"), "imports zerorpc, which is not installed here"),
        (NameError("name 'sl' is not defined"), "'sl' is not defined, which is pyzed, of the ZED SDK"),
        (AttributeError("no 'Dictionary_get'"), "AttributeError: no 'Dictionary_get';"),
    ):
        broken(error)
        with pytest.raises(ConfigurationError, match=says):
            make_droid(DroidOptions())


def run(folder: Path, policy: Callable[[dict[str, Any]], Any], *more: str) -> int:
    limits = 'joint_velocity = 3.0\nworkspace_low = "none"\nworkspace_high = "none"\n'
    (folder / "droid.toml").write_text(limits + more[0], "utf-8")
    with InferenceServer({"it": lambda: policy}, port=0, fps=15) as server:
        options = ["--limits", str(folder / "droid.toml"), "--json", *more[1:]]
        return cli.main(["run", "droid", f"127.0.0.1:{server.port}", *options])


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the large pictures that this is not about."""
    droid_standin.install(monkeypatch, hand_camera_id="", varied_camera_1_id="")


def moving(seen: dict[str, Any]) -> list[dict[str, Any]]:
    """Two seconds of it; however late it comes, something is left of that."""
    return [{"joint_delta": np.full(7, 0.01 * (-1) ** i), "target_grip": [1.0]} for i in range(30)]


@pytest.mark.usefixtures("blind")
def test_a_run_ends_with_the_velocity_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Brought home by joints, driven by a chunk of velocities until the policy has seen that it moves, and held."""

    def until_closed(seen: dict[str, Any]) -> list[dict[str, Any]]:
        return [] if seen["grip"] == 1 else moving(seen)

    home = [0, -0.6, 0, -2.45, 0, 1.9, 0]
    assert run(tmp_path, until_closed, f"[home]\ntarget_joints = {home}", "--seconds", "1000") == 0
    assert json.loads(capsys.readouterr().out)["steps"] >= 1
    env = droid_standin.made[-1]
    spaces = [space for space, _ in env.sent]
    driven = spaces.index("joint_velocity")
    assert set(spaces[:driven]) == {"joint_position"}
    np.testing.assert_allclose(env.sent[driven - 1][1][:7], home)
    assert set(spaces[driven:]) == {"joint_velocity"}
    np.testing.assert_allclose(np.abs(env.sent[driven][1]), [0.05] * 7 + [1])
    assert env.sent[-1][1] == [0.0] * 7 + [1.0]
    assert env.closed


@pytest.mark.usefixtures("blind")
def test_an_arm_that_is_gone_in_mid_episode_ends_the_run_and_not_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def until_gone(seen: dict[str, Any]) -> list[dict[str, Any]]:
        if seen["grip"] == 1:
            droid_standin.made[-1].fault = "Lost remote after 20s heartbeat"
        return moving(seen)

    assert run(tmp_path, until_gone, "", "--episodes", "2", "--seconds", "1000") == 1
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["failures"] == {"robot_failed": 1}
    assert report["steps"] >= 1
    assert "Lost remote after 20s heartbeat" in err


def test_what_it_is_is_shown_without_a_connection(capsys: pytest.CaptureFixture[str]) -> None:
    before = len(droid_standin.made)
    assert cli.main(["robots", "droid", "--exterior", "2"]) == 0
    out = capsys.readouterr().out
    assert "-0.2 … 0.2" in out
    assert "needs its limits" in out
    assert cli.main(["robots"]) == 0
    assert "not on PyPI" in capsys.readouterr().out
    assert len(droid_standin.made) == before


@pytest.mark.parametrize("call", ["update_robot", "get_observation", "get_state"])
def test_a_call_that_hangs_has_an_end_and_so_have_stop_and_close(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("droid.robot._PATIENCE", "watchdog.STOPPING"):
        monkeypatch.setattr(f"offboard_client.robots.{module}", 1.0)
    go = threading.Event()

    def run() -> None:
        with connected(make_droid(DroidOptions())) as robot:
            seen = robot.observe()
            monkeypatch.setattr(droid_standin.made[-1], call, lambda *given, **named: go.wait(PATIENCE))
            asked = {"get_observation": robot.observe, "get_state": robot.state}
            asked.get(call, lambda: robot.apply({"target_joints": seen["robot_state.q"]}, PERIOD, seen))()

    with pytest.raises(RobotFailed) as raised:
        run()
    go.set()
    assert raised.value.text.startswith("the robot did not come back from RobotEnv.")
    assert not droid_standin.made[-1].sent
