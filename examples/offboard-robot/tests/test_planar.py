from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from offboard_client.drivers import RunLength, TimedDriver
from offboard_client.errors import InvalidAction
from offboard_client.play import Report, SafetyLimits
from offboard_client.robots import choose_robot, connected, make_robot, make_task
from offboard_client.testing import RobotConformance


class TestPlanar(RobotConformance):
    """Whatever holds for every robot."""

    name = "planar"


@pytest.fixture
def robot():
    chosen = choose_robot("planar")
    with connected(make_robot(chosen, chosen.options()())) as robot:
        yield robot


@pytest.fixture
def task(robot):
    return make_task(choose_robot("planar"), robot, None)


def test_it_goes_where_it_is_sent(robot):
    robot.apply({"target_joints": np.array([0.1, 0.2, 0.3])}, 0.5)
    robot.apply({}, 0.5)
    np.testing.assert_allclose(robot.observe()["robot_state.q"], [0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    "action",
    [{"target_pose": np.zeros(7)}, {"target_joints": np.zeros(2)}, {"target_joints": np.full(3, np.nan)}],
)
def test_what_it_cannot_play_is_refused_before_anything_moves(robot, action):
    with pytest.raises(InvalidAction):
        robot.apply(action, 0.1)
    np.testing.assert_array_equal(robot.joints, np.zeros(3))


class Homewards:
    """A policy that needs no server: it halves the joints, again and again."""

    def __init__(self):
        self.metadata = {"action": {"target_joints": {}}, "action_fps": 10}
        self.timing: Any = SimpleNamespace(last={})

    def infer(self, observation):
        joints = observation["robot_state.q"]
        return [{"action": {"target_joints": joints * 0.5**step}, "timestamp": 0.1 * step} for step in range(10)]

    def reset(self):
        pass

    def close(self):
        pass


def test_a_policy_does_the_task(robot, task):
    report = Report()
    driver = TimedDriver(Homewards(), robot, task, limits=SafetyLimits(), observers=[report])
    driver.run(RunLength(episodes=3, seconds=2.0))
    assert [episode.success for episode in report.episodes] == [True] * 3
