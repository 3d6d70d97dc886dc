"""A robot and a session that record what happens to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from offboard_client.drivers import RunLength, TimedDriver
from offboard_client.play import Answer, EpisodeInfo, Outcome, Report, SafetyLimits, Tick

POSE = np.array([0.4, 0.0, 0.3, 0.0, 1.0, 0.0, 0.0])


class FakeRobot:
    """A robot that stands at POSE, and its own task; ``played`` holds every (action, seconds), ``calls`` the rest.

    ``fails``: calls that raise, each with what.
    """

    actions = frozenset({"target_pose", "target_joints", "joint_delta", "target_grip"})
    control_period = 0.02
    kinematics: Any = None

    instruction: str | None = "hold still"

    def __init__(self, outcome: bool | None = True, **fails: BaseException) -> None:
        self.outcome = outcome
        self.fails = fails
        self.played: list[tuple[dict[str, Any], float]] = []
        self.seeds: list[int] = []
        self.calls: list[str] = []

    def connect(self) -> None:
        self._call("connect")

    def observe(self) -> dict[str, Any]:
        self._call("observe")
        return {"robot_state.ee_pose": POSE.copy(), "robot_state.q": np.zeros(7)}

    def apply(self, action: Mapping[str, Any], seconds: float) -> None:
        self._call("apply")
        self.played.append((dict(action), seconds))

    def stop(self) -> None:
        self._call("stop")

    def close(self) -> None:
        self._call("close")

    def reset(self, seed: int) -> None:
        self._call("reset")
        self.seeds.append(seed)

    def succeeded(self) -> bool | None:
        self._call("succeeded")
        return self.outcome

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.fails:
            raise self.fails[name]


class FakeSession:
    """Gives out ``replies`` in turn, the last one again and again; an exception among them is raised."""

    def __init__(self, *replies: Any, fps: float | None = 10.0, action: Sequence[str] = ("target_pose",)) -> None:
        self.metadata = {"action_fps": fps, "action": {name: {"kind": "…"} for name in action}}
        self.timing = SimpleNamespace(last={"total_ms": 3.0, "server.infer_ms": 2.0})
        self.resets = 0
        self.observations: list[Mapping[str, Any]] = []
        self._replies = list(replies)

    def infer(self, observation: Mapping[str, Any]) -> Any:
        self.observations.append(observation)
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        if isinstance(reply, BaseException):
            raise reply
        return reply

    def reset(self) -> None:
        self.resets += 1


class Watcher:
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.events: list[EpisodeInfo | Answer | Tick | Outcome] = []

    def started(self, episode: EpisodeInfo) -> None:
        self.events.append(episode)

    def answered(self, answer: Answer) -> None:
        self.events.append(answer)

    def ticked(self, tick: Tick) -> None:
        self.events.append(tick)

    def ended(self, outcome: Outcome) -> None:
        self.events.append(outcome)


class Playing:
    """A driver whose report is fresh and watches."""

    def __init__(self, session: Any, robot: Any, task: Any, limits: SafetyLimits, **options: Any) -> None:
        self.report = Report()
        self.driver = TimedDriver(session, robot, task, limits=limits, observers=[self.report], **options)

    def run(self, length: RunLength, seed: int = 0) -> None:
        self.driver.run(length, seed)


def rows(*timestamps: float, **action: Any) -> list[dict[str, Any]]:
    """Rows at these times that all hold ``action``, a still pose if nothing is said; read-only, as the client's are."""
    return [{"action": _read_only(action or {"target_pose": POSE}), "timestamp": at} for at in timestamps]


def _read_only(action: Mapping[str, Any]) -> dict[str, Any]:
    frozen = {name: np.array(value) for name, value in action.items()}
    for array in frozen.values():
        array.flags.writeable = False
    return frozen


def driver(session: Any, robot: Any, limits: SafetyLimits | None = None, task: Any = None, **options: Any) -> Playing:
    """A driver with a report of its own. ``task``: by default the robot is its own."""
    return Playing(session, robot, task or robot, limits or SafetyLimits(), **options)
