"""The whole loop in one process: camera to gripper, without a socket between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from offboard_client.chunks import STRATEGIES
from offboard_client.drivers import Playing, RunLength
from offboard_client.robots import connected
from offboard_client.robots.sim import COLOURS, RayRenderer, SimRobot, Stacking, StackTask
from offboard_core.scripted import SLOWEST, SPEED, ScriptedParams, ScriptedPolicy, make_codec
from offboard_core.types import NO_CONTEXT, Checkpoint, NoParams, rows
from robot_fakes import driver


class InProcess:
    """A session on the policy itself."""

    def __init__(self, speed: float = SPEED) -> None:
        self._codec = make_codec(NoParams(), Checkpoint(id="scripted"))
        self._session = ScriptedPolicy().new_session(ScriptedParams(speed=speed))
        self.metadata = {"action": dict.fromkeys(self._codec.meta.action), "action_fps": self._codec.meta.action_fps}
        self.timing = SimpleNamespace(last={})

    def infer(self, observation: Mapping[str, Any]) -> list[dict[str, Any]]:
        inputs = self._codec.encode(observation)
        chunk = self._session.infer(inputs, NO_CONTEXT)
        assert chunk is not None
        return list(rows(self._codec.decode(chunk, inputs)))

    def reset(self) -> None:
        pass


@pytest.fixture(scope="module")
def robot() -> Iterator[SimRobot]:
    render, taken = RayRenderer.render, dict[str, Any]()

    def once(self: RayRenderer, data: Any, camera: str) -> Any:
        """The policy does not look at pictures, and they cost more than all else here."""
        if camera not in taken:
            taken[camera] = render(self, data, camera)
        return taken[camera]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RayRenderer, "render", once)
        with connected(SimRobot()) as robot:
            yield robot


@pytest.mark.parametrize("episodes", [4, pytest.param(100, marks=pytest.mark.slow)])
def test_it_does_the_task_wherever_the_cubes_lie(robot: SimRobot, episodes: int) -> None:
    playing = driver(InProcess(), robot, task=Stacking(robot))
    playing.run(RunLength(episodes=episodes), seed=1000)
    assert [episode.failure for episode in playing.report.episodes] == [None] * episodes
    assert playing.report.successes == episodes
    assert max(episode.seconds for episode in playing.report.episodes) < 12


@pytest.mark.parametrize("chunks", [name for name in STRATEGIES if name not in ("sequential", "latest_only", "rtc")])
def test_it_does_the_task_whatever_is_played_of_its_answers(robot: SimRobot, chunks: str) -> None:
    playing = driver(InProcess(), robot, task=Stacking(robot), playing=Playing(chunks=chunks))
    playing.run(RunLength(), seed=2)
    assert [episode.failure for episode in playing.report.episodes] == [None]
    assert playing.report.successes == 1


def test_it_does_the_task_as_slowly_as_it_may_be_told_to(robot: SimRobot) -> None:
    seconds: list[float] = []
    for speed in (SPEED, SLOWEST):
        playing = driver(InProcess(speed), robot, task=Stacking(robot))
        playing.run(RunLength(seconds=60), seed=1000)
        assert playing.report.successes == 1
        seconds.append(playing.report.episodes[0].seconds)
    assert seconds[1] > 2 * seconds[0]


#: In every run each colour is once above and once below.
ROUND = list(zip(COLOURS, (*COLOURS[1:], COLOURS[0]), strict=True))
ORDERS = [*ROUND, *(pytest.param(bottom, top, marks=pytest.mark.slow) for top, bottom in ROUND)]


@pytest.mark.parametrize(("top", "bottom"), ORDERS)
def test_it_stacks_any_cube_on_any_other(robot: SimRobot, top: str, bottom: str) -> None:
    playing = driver(InProcess(), robot, task=Stacking(robot, StackTask(top, bottom)))
    playing.run(RunLength(), seed=5)
    assert playing.report.successes == 1
    offset = robot.cube(f"{top}_cube")[:3] - robot.cube(f"{bottom}_cube")[:3]
    np.testing.assert_allclose(offset, [0, 0, 0.04], atol=0.01)


def test_a_cube_that_lies_on_the_other_but_is_still_held_is_not_yet_a_success(robot: SimRobot) -> None:
    task = Stacking(robot)
    task.reset(0)
    session, held_on_top = InProcess(), False
    for _ in range(20):
        chunk = session.infer({**robot.observe(), "task": task.instruction})
        for row in chunk:
            robot.apply(row["action"], 1 / 15)
            offset = robot.cube("red_cube")[:3] - robot.cube("green_cube")[:3]
            if abs(offset[2] - 0.04) < 0.005 and robot.observe()["grip"][0] > 0.5:
                held_on_top = True
                assert task.succeeded() is False
        if not chunk:
            break
    assert held_on_top
    assert task.succeeded() is True
