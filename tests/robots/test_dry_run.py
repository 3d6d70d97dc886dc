"""Everything but the motors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from offboard_client.cli import DryRun, show
from offboard_client.errors import ConfigurationError, InvalidAction
from offboard_client.play import Answer, Command, EpisodeInfo, Report, SafetyLimits, Tick
from offboard_client.plugins import Chosen
from offboard_client.robots import Channel, DryRobot, DryTask, Robot, RobotEntry, RobotSpec, connected, make_robot
from offboard_client.robots.sim import SimOptions, SimRobot
from offboard_client.testing import RobotLaws
from offboard_process import offboard
from robot_fakes import POSE, FakeRobot

JOINTS = Channel(shape=(2,), order=("shoulder", "elbow"))
SPEC = RobotSpec(
    measures={"robot_state.q": JOINTS, "grip": Channel(shape=(1,))},
    plays={"target_joints": JOINTS, "target_grip": Channel(shape=(1,)), "joint_delta": JOINTS},
    control_period=0.02,
)


class Arm(Robot):
    """Two joints that nobody moves, and whose motors fail whoever touches them."""

    spec = SPEC

    def __init__(self, realtime: bool = False) -> None:
        self.realtime = realtime

    def observe(self) -> dict[str, Any]:
        return {"robot_state.q": np.array([0.1, 0.2]), "grip": np.zeros(1), "robot_state.dq": np.zeros(2)}

    def apply(self, action: Any, seconds: float) -> None:
        raise AssertionError("a motor was commanded")

    def stop(self) -> None:
        raise AssertionError("a motor was commanded")


class TestDryRobot(RobotLaws):
    """It is a robot like any other, though nothing of it moves: here the simulated arm at wall speed."""

    name = "sim"

    @pytest.fixture
    def make(self, chosen: Chosen[RobotEntry]) -> Callable[[], Robot]:
        return lambda: DryRobot(make_robot(chosen, SimOptions(clock="real", camera_rate=2)))


def test_no_motor_is_told_anything_and_the_arm_is_where_it_would_be() -> None:
    with connected(DryRobot(Arm())) as robot:
        before = robot.observe()
        robot.apply({"target_joints": np.array([0.3, 0.4]), "target_grip": np.array([1.0])}, 0.1)
        robot.apply({"joint_delta": np.array([0.0, 0.1])}, 0.1)
        robot.apply({}, 0.1)
        after = robot.observe()
        np.testing.assert_allclose(after["robot_state.q"], [0.3, 0.5])
        assert after["grip"] == 1.0
        assert robot.state().keys() == before.keys()
        np.testing.assert_array_equal(before["robot_state.q"], [0.1, 0.2])
        robot.anew()
        np.testing.assert_array_equal(robot.observe()["robot_state.q"], [0.1, 0.2])
        with pytest.raises(InvalidAction, match="cannot play target_pose"):
            robot.apply({"target_pose": POSE}, 0.1)


def test_what_it_would_do_takes_its_time_where_time_passes_by_itself() -> None:
    with connected(DryRobot(Arm(realtime=True))) as robot:
        robot.observe()
        began = time.monotonic()
        for _ in range(5):
            robot.apply({}, 0.04)
        assert time.monotonic() - began >= 0.18


def test_joints_and_pose_go_together_by_the_robots_kinematics() -> None:
    sim = SimRobot()
    with connected(DryRobot(sim)) as robot:
        pose = robot.observe()["robot_state.ee_pose"] + [0.05, 0, -0.05, 0, 0, 0, 0]
        robot.apply({"target_pose": pose}, 0.5)
        after = robot.observe()
        np.testing.assert_array_equal(after["robot_state.ee_pose"], pose)
        np.testing.assert_allclose(sim.kinematics.forward(after["robot_state.q"]), pose, atol=2e-3)
        assert sim.time == 0


def test_a_pose_that_nobody_can_follow_is_explained() -> None:
    class Forward:
        def forward(self, q: Any) -> Any:
            return POSE

    arm = FakeRobot()
    arm.spec, arm.realtime, arm.leader = SimRobot().spec, False, None  # type: ignore[attr-defined]
    arm.kinematics = Forward()
    robot: Any = arm
    with pytest.raises(ConfigurationError, match=r"Give them solve\(pose, near\)"):
        DryRobot(robot).apply({"target_pose": POSE}, 0.1)


def test_no_task_brings_a_real_arm_anywhere_or_judges() -> None:
    arm, robot = FakeRobot(), DryRobot(Arm())
    task: Any = arm
    dry = DryTask(task, robot)
    robot.observe()
    robot.apply({"target_joints": np.array([0.3, 0.4])}, 0.1)
    dry.reset(3)
    np.testing.assert_array_equal(robot.observe()["robot_state.q"], [0.1, 0.2])
    assert dry.succeeded() is None
    assert dry.instruction == "hold still"
    assert not arm.calls


def watched(spec: RobotSpec = SPEC, limits: SafetyLimits | None = None) -> DryRun:
    """Half a second in which one joint rises, evenly, and the gripper closes."""
    dry = DryRun(spec, limits or SafetyLimits(joint_velocity=(2.0, 1.5)))
    dry.started(EpisodeInfo(1, 0, 15.0, 0.02, 0.1, {}, 0.0, 0.0))
    rows = [
        {"action": {"target_joints": np.array([0.1, 0.2 + 0.1 * i]), "target_grip": [i / 5]}, "timestamp": i * 0.1}
        for i in range(1, 6)
    ]
    dry.answered(Answer({}, rows, 0.0, 1.0, 12.0, {}))
    seen = {"robot_state.q": np.array([0.1, 0.2]), "grip": np.zeros(1)}
    for i, row in enumerate(rows):
        dry.ticked(Tick(Command(row["action"], 0.1, i), "playing", 0.0, i * 0.1, seen, 0.0))
    dry.ticked(Tick(Command({}, 0.1), "hold", 0.0, 0.5, seen, 0.0))
    return dry


def test_a_line_for_each_chunk_and_a_picture_for_each_joint(capsys: pytest.CaptureFixture[str]) -> None:
    dry = watched()
    told = "chunk 1: 5 rows until 0.50 s, 12 ms: target_joints +0.400 elbow; target_grip +0.800 closed"
    assert capsys.readouterr().err.splitlines() == [told]
    show(Report(), False, dry=dry)
    lines = capsys.readouterr().out.splitlines()
    elbow = next(line for line in lines if "elbow" in line)
    assert "0.300 to  0.700 rad" in elbow
    assert "1.00 of 1.5 rad/s" in elbow
    drawn = elbow.split()[-1]
    assert drawn == "".join(sorted(drawn)), "it rises"
    assert len(set(drawn)) > 3
    shoulder = next(line for line in lines if "shoulder" in line)
    assert len(set(shoulder.split()[-1])) == 1, "it stands still"
    assert "0.00 of 2 rad/s" in shoulder
    assert max(map(len, lines)) <= 140


def test_its_numbers_are_in_the_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    show(Report(), True, dry=watched())
    found = json.loads(capsys.readouterr().out)["dry_run"]
    assert found["target_joints"]["peak_velocity"] == pytest.approx([0.0, 1.0])
    assert found["target_joints"]["limit"] == [2.0, 1.5]
    assert found["target_grip"]["high"] == [1.0]


def test_a_day_of_commands_is_drawn_of_a_part_of_them() -> None:
    dry = DryRun(SPEC, SafetyLimits())
    dry.started(EpisodeInfo(1, 0, 15.0, 0.02, 0.1, {}, 0.0, 0.0))
    for i in range(20_000):
        dry.ticked(Tick(Command({"joint_delta": np.array([i, 0.0])}, 1.0), "playing", 0.0, float(i), {}, 0.0))
    trace = dry.traces["joint_delta"]
    assert trace.high.tolist() == [19_999, 0]
    assert 2000 < len(trace.drawn) <= 4097
    steps = np.diff(np.array(trace.drawn)[:, 0])
    assert len(set(steps)) == 1, "of all times alike"


def test_it_is_an_option_of_run() -> None:
    done = offboard("run", "sim", "--policy", "local:scripted", "--dry-run", "--seconds", "1", "--json")
    assert done.returncode == 0, done.stderr
    assert "chunk 1: 22 rows" in done.stderr
    found = json.loads(done.stdout)
    assert (found["successes"], found["failures"]) == (0, {})
    assert found["dry_run"]["target_pose"]["axes"] == ["x", "y", "z", "turn"]
    assert 0 < found["dry_run"]["target_pose"]["peak_velocity"][2] < 1
