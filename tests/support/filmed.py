"""Episodes to record: made of events, as a driver tells them, or by a driver that plays a robot with a camera."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from offboard_client.drivers import RunLength, TimedDriver
from offboard_client.play import Answer, Command, EpisodeInfo, Outcome, SafetyLimits, Sample, ShadowAnswer, Tick
from offboard_client.recording import Recorder
from robot_fakes import FakeRobot

#: When episodes begin: on the events' clock, and since 1970.
CLOCK, WALL = 100.0, 1_800_000_000.0


def picture(number: int, height: int = 48, width: int = 64) -> Any:
    """(height, width, 3) uint8 that says by each of its pixels which one it is."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([(x * 3 + number) % 256, (y * 5 + number) % 256, (x + y + 7 * number) % 256], -1).astype(np.uint8)


def observation(number: int, **more: Any) -> dict[str, Any]:
    """One with a camera, and numbers that say which one it is."""
    pose = np.array([0.1, 0.2, 0.3 + number / 1000, 0.5, 0.5, 0.5, 0.5])
    return {
        "image.wrist": picture(number),
        "robot_state.ee_pose": pose,
        "robot_state.q": np.full(7, number / 7, np.float32),
        "grip": np.array([0.25]),
        "task": "stack",
        **more,
    }


def begin(recorder: Recorder, number: int = 1, **meta: Any) -> None:
    """An episode of 20 Hz, of a policy of 10 Hz."""
    recorder.started(
        EpisodeInfo(number, 6 + number, 15.0, 0.05, 0.1, {"model_id": "m", "action_fps": 10.0, **meta}, CLOCK, WALL)
    )


def sample(recorder: Recorder, number: int, asked: bool = False, **more: Any) -> Mapping[str, Any]:
    """What was observed at control period ``number``."""
    seen, seconds = observation(number, **more), number * 0.05
    recorder.sampled(Sample(seen, CLOCK + seconds, seconds, 2.0, {}, asked))
    return seen


def answer(recorder: Recorder, seen: Mapping[str, Any], at: float, rows: Any = (), **more: Any) -> None:
    """What was said of ``seen``, which was sent when the episode was ``at`` old, 20 ms later."""
    recorder.answered(Answer(seen, rows, CLOCK + at, 2.0, 20.0, {"total_ms": 20.0}, **more))


def shadow(recorder: Recorder, seen: Mapping[str, Any], at: float, rows: Any = (), **more: Any) -> None:
    """What another model said of ``seen``, 50 ms after the policy had said what :func:`answer` has."""
    beside = Answer(seen, [], CLOCK + at, 2.0, 20.0, {"total_ms": 20.0})
    meta = {"model_id": "s"}
    recorder.shadow_answered(
        ShadowAnswer(beside, rows, CLOCK + at + 0.03, 40.0, {"total_ms": 40.0}, "there:8000", meta, **more)
    )


def tick(recorder: Recorder, number: int, action: Mapping[str, Any], rung: Any = "playing", row: int = 0) -> None:
    """A command of control period ``number``."""
    seconds = number * 0.05
    recorder.ticked(Tick(Command(action, 0.05, row), rung, CLOCK + seconds + 0.001, seconds, {}, 49.0))


def record(folder: Path, periods: int = 12, outcome: Outcome | None = None, **facts: Any) -> Path:
    """A whole episode of one folder: asked at every fourth period, played at each."""
    recorder = Recorder(folder, {"command": "offboard run test", **facts})
    begin(recorder)
    for number in range(periods):
        asked = number % 4 == 0
        seen = sample(recorder, number, asked)
        target = np.array([0.1, 0.2, 0.3 + number / 1000, 1.0, 0.0, 0.0, 0.0])
        if asked:
            action = {"target_pose": target, "target_grip": [0.5]}
            rows = [{"timestamp": step / 10, "action": action} for step in (0, 1)]
            answer(recorder, seen, number * 0.05, rows)
        tick(recorder, number, {"target_pose": target, "target_grip": np.array([0.5])}, row=number % 4 // 2)
    recorder.ended(outcome or Outcome(True, scores={"reward": 1.5}))
    return recorder.recorded.files[0]


class FilmedRobot(FakeRobot):
    """A robot with a camera, whose every picture is another."""

    seen = 0

    def observe(self) -> dict[str, Any]:
        self.seen += 1
        return {**super().observe(), "image.wrist": picture(self.seen)}


def play(session: Any, *observers: Any, robot: Any = None, **options: Any) -> Any:
    """One episode of 15 s at most on a filmed robot, whose clock stands while it is thought."""
    robot = robot or FilmedRobot()
    TimedDriver(session, robot, robot, limits=SafetyLimits(), observers=observers, **options).run(RunLength(1, 15.0))
    return robot
