"""Whatever a server answers: MuJoCo itself tells what the simulated arm's servos were sent, step for step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from offboard_client.play import SafetyLimits
from offboard_client.robots.sim import FINGER_TRAVEL, JOINT_SPEEDS, SimRobot, Stacking
from panda import by_the_table
from sequences import ARM, Answer, Array, Maker, Server, answers, drawn, limits, play, rates
from set_points import ROUNDING, speeds

#: Seconds of one step of the physics.
STEP = 0.002


class Recorder(SimRobot):
    """Without cameras; ``episodes``: by simulated seconds, what the servos were sent."""

    def __init__(self) -> None:
        self.episodes: list[dict[float, Array]] = []
        super().__init__()
        picture = np.zeros(self.spec.measures["image.wrist"].shape, np.uint8)
        self._renderer = cast("Any", SimpleNamespace(render=lambda data, name: picture))

    def reset(self, seed: int) -> None:
        self.episodes.append({})
        super().reset(seed)

    def sent(self, model: Any, data: Any) -> None:
        """MuJoCo calls it in each step, and whenever the scene is read."""
        self.episodes[-1][float(data.time)] = np.array(data.ctrl)

    def commanded(self) -> Array:
        return np.array(self._data.ctrl[:7])


@pytest.fixture
def robot() -> Iterator[Recorder]:
    robot = Recorder()
    mujoco.set_mjcb_control(robot.sent)
    yield robot
    mujoco.set_mjcb_control(None)


def panda_tool(q: Array) -> tuple[Array, Array]:
    matrices = by_the_table(q)
    return matrices[:, :3, 3], matrices[:, :3, :3]


def assert_held(sent: Array, allowed: SafetyLimits, deltas: bool) -> None:
    """``sent``: (n, 8) joints and fingers. ``deltas``: only the robot knows where they lead; its own speeds hold."""
    assert np.isfinite(sent).all()
    speed = np.abs(np.diff(sent, axis=0)) / STEP
    assert (speed[:, :7] <= np.array(JOINT_SPEEDS if deltas else allowed.joint_velocity) * ROUNDING + 1e-9).all()
    assert ((sent[:, 7] >= 0) & (sent[:, 7] <= FINGER_TRAVEL)).all()
    if allowed.grip_velocity is not None:
        assert speed[:, 7].max() / FINGER_TRAVEL <= allowed.grip_velocity * ROUNDING + 1e-9
    if deltas:
        return
    velocity, turning = speeds(sent[:, :7], STEP, panda_tool)
    assert np.linalg.norm(velocity, axis=1).max() <= allowed.linear_velocity * (1 + 1e-3)
    assert turning.max() <= allowed.angular_velocity * (1 + 1e-3)
    places = panda_tool(sent[1:, :7][speed[:, :7].max(axis=1) > 0])[0]
    # A solution is up to a tenth of a millimetre beside the pose that was asked for.
    assert (places >= np.array(allowed.workspace_low) - 2e-4).all()
    assert (places <= np.array(allowed.workspace_high) + 2e-4).all()


@pytest.mark.parametrize("count", [25, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("deltas", [False, True])
def test_whatever_the_simulated_arm_is_sent_keeps_to_the_limits_in_each_step_of_its_physics(
    robot: Recorder, deltas: bool, count: int
) -> None:
    outcomes: Counter[str] = Counter()

    @drawn(count)
    @given(limits(7), rates, answers, st.floats(0.05, 3))
    def check(allowed: SafetyLimits, fps: float, chunks: list[Answer | None], seconds: float) -> None:
        robot.episodes.clear()
        names = frozenset(ARM if deltas else ("target_pose", "target_joints"))
        make = Maker(allowed, fps, robot.kinematics.forward, names, reach=(1.0, 4.0))
        server = Server(chunks, make, robot.commanded, lambda: len(robot.episodes[-1]))
        play(server, robot, allowed, seconds, Stacking(robot))
        for episode in robot.episodes:
            if len(episode) > 1:
                assert_held(np.array([episode[at] for at in sorted(episode)]), allowed, deltas)
        outcomes.update(server.outcomes)

    check()
    assert outcomes["played"] > count / 2
    assert outcomes["refused"] > count / 10
