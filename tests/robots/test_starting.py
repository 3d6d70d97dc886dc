"""Before an episode the driver brings the arm where it starts: home, or where the task says, within the limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from offboard_client.drivers import RunLength, TimedDriver
from offboard_client.errors import ConfigurationError
from offboard_client.play import Controls, Hold, Quit, Report, Resume, RobotLimits, SafetyLimits, read_place
from offboard_client.robots import Channel, DryRobot, DryTask, RobotSpec
from planar_arm import HOME, Planar, PlanarArm

LIMITS = SafetyLimits(joint_velocity=0.5, linear_velocity=0.3)
FAR = HOME + np.array([-0.5, 0.4, 0.1])


class Stays:
    """A policy that answers where the arm was seen."""

    def __init__(self, joints: list[np.ndarray]) -> None:
        self.metadata: Mapping[str, Any] = {"action": {"target_joints": {}}, "action_fps": 10}
        self.timing = SimpleNamespace(last={})
        self._joints = joints

    def infer(self, observation: Mapping[str, Any]) -> Any:
        self._joints.append(observation["robot_state.q"])
        return [{"action": {"target_joints": observation["robot_state.q"]}, "timestamp": 0.0}]

    def reset(self) -> None: ...

    def close(self) -> None: ...


class Arm(PlanarArm):
    realtime = False
    leader = None
    spec = RobotSpec(
        measures={"robot_state.q": Channel(shape=(3,))}, plays={"target_joints": Channel(shape=(3,))},
        control_period=0.01,
    )  # fmt: skip

    def __init__(self, kinematics: Any = None) -> None:
        super().__init__(kinematics or Planar())
        self.stopped = False
        self.reset_at: list[np.ndarray] = []
        self.happens: dict[int, Callable[[], Any]] = {}

    def observe(self) -> dict[str, Any]:
        self.stopped = False
        return super().observe()

    def state(self) -> dict[str, Any]:
        return super().observe()

    def apply(self, action: Mapping[str, Any], seconds: float) -> None:
        if (happens := self.happens.pop(len(self.played), None)) is not None:
            happens()
        if not self.stopped:
            super().apply(action, seconds)

    def stop(self) -> None:
        self.stopped = True

    def reset(self, seed: int) -> None:
        self.reset_at.append(self.joints.copy())


def run(arm: Any, limits: Any, episodes: int = 1, **options: Any) -> tuple[Report, list[np.ndarray]]:
    seen: list[np.ndarray] = []
    report = Report()
    session: Any = Stays(seen)
    driver = TimedDriver(session, arm, arm, limits=limits, observers=[report], **options)
    driver.run(RunLength(episodes=episodes, seconds=0.2))
    return report, seen


def home(**place: Any) -> RobotLimits:
    return RobotLimits(LIMITS, home=read_place(place, "[home]"))


def test_the_arm_is_brought_home_before_each_episode_and_before_the_scene_is_set() -> None:
    arm = Arm()
    report, seen = run(arm, home(target_joints=FAR), episodes=2)
    assert [episode.failure for episode in report.episodes] == [None, None]
    for joints in (*arm.reset_at, *seen):
        np.testing.assert_array_equal(joints, FAR)
    assert len(arm.reset_at) == 2
    assert np.abs(np.diff([HOME, *arm.sent], axis=0)).max() / arm.control_period <= 0.5 + 1e-9
    assert np.abs(np.diff([HOME, *arm.sent], axis=0)).max() > 0


def test_a_task_says_where_it_starts_by_the_seed_and_whether_home_will_do() -> None:
    class Task(Arm):
        def start(self, seed: int) -> Mapping[str, Any] | None:
            return ({"target_joints": HOME + 0.1}, {}, None)[seed]

    arm = Task()
    run(arm, home(target_joints=FAR), episodes=3)
    np.testing.assert_array_equal(arm.reset_at, [HOME + 0.1, HOME + 0.1, FAR])


def test_a_dry_run_brings_it_nowhere() -> None:
    arm: Any = Arm()
    dry = DryRobot(arm)
    apply, sent = dry.apply, []

    def sending(action: Mapping[str, Any], seconds: float) -> None:
        sent.append(action["target_joints"])
        apply(action, seconds)

    dry.apply = sending
    report = Report()
    seen: list[np.ndarray] = []
    session: Any = Stays(seen)
    driver = TimedDriver(session, dry, DryTask(arm, dry), limits=home(target_joints=FAR), observers=[report])
    driver.run(RunLength(episodes=1, seconds=0.2))
    assert report.episodes[0].failure is None
    np.testing.assert_array_equal(sent, [HOME] * len(seen))
    assert arm.played == []


def test_home_may_have_a_gripper() -> None:
    arm = Arm()
    run(arm, home(target_joints=FAR, target_grip=[0.5]))
    assert arm.grip == 0.5
    np.testing.assert_array_equal(arm.reset_at, [FAR])


def test_without_a_home_nothing_moves() -> None:
    arm = Arm()
    run(arm, LIMITS)
    np.testing.assert_array_equal(arm.joints, HOME)


def test_a_start_that_is_none_or_out_of_bounds_fails_the_episode_before_anything_moves() -> None:
    class Task(Arm):
        place: Any = {"target_joints": np.zeros(3) + 9}

        def start(self, seed: int) -> Any:
            return self.place

    for place, says in (
        ({"joint_delta": np.zeros(3)}, "the task's start holds joint_delta, which is no place"),
        ({"target_joints": np.array([-1.5, 0.0, 0.0])}, "the task's start leads the end effector to"),
    ):
        arm = Task()
        arm.place = place
        report, _ = run(arm, LIMITS)
        code, text = report.episodes[0].failure or ("", "")
        assert (code, says in text) == ("configuration", True), text
        assert arm.sent == []


def test_a_hold_on_the_way_holds_and_then_it_is_brought_there_all_the_same() -> None:
    arm, controls = Arm(), Controls()
    arm.happens[5] = lambda: controls.post(Hold())
    waited = []

    def wait(seconds: float) -> None:
        waited.append(len(arm.played))
        controls.post(Resume())

    run(arm, home(target_joints=FAR), controls=controls, sleep=wait)
    assert waited[0] in (5, 6), "the arm is told on another thread, before or after it has taken the command at hand"
    assert set(waited) == {waited[0]}, "nothing more is played"
    np.testing.assert_array_equal(arm.reset_at, [FAR])


def test_a_quit_on_the_way_ends_it() -> None:
    arm, controls = Arm(), Controls()
    arm.happens[5] = lambda: controls.post(Quit())
    run(arm, home(target_joints=FAR), controls=controls)
    assert arm.reset_at == []
    assert len(arm.played) <= 6


@pytest.mark.parametrize("name", ["home", "safe_action"])
def test_a_home_or_a_safe_action_that_the_robot_may_not_be_at_is_found_when_the_driver_is_made(name: str) -> None:
    outside: Any = {name: read_place({"target_joints": [-1.5, 0.0, 0.0]}, name)}
    another: Any = {name: read_place({"target_joints": [1.0, 0.0]}, name)}
    with pytest.raises(ConfigurationError, match=rf"\[{name}\] leads the end effector to"):
        run(Arm(), RobotLimits(LIMITS, **outside))
    with pytest.raises(ConfigurationError, match=rf"\[{name}\].*2 joints"):
        run(Arm(), RobotLimits(LIMITS, **another))
