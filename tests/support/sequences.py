"""What a server may answer, chunk after chunk, drawn by hypothesis; and a session that answers it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from offboard_client.drivers import RunLength, TimedDriver
from offboard_client.play import Answer as Answered
from offboard_client.play import EpisodeInfo, Outcome, Report, SafetyLimits, Tick

Array = NDArray[np.float64]
ARM = ("target_pose", "target_joints", "joint_delta")
#: What only the robot knows, and only when the row is played: where a delta leads, its joints' stops, its own way.
ROBOTS_OWN = ("this arm's moves at", "its range is", "leaves the reach")


def drawn(count: int) -> settings:
    return settings(max_examples=count, suppress_health_check=list(HealthCheck))


@st.composite
def limits(draw: st.DrawFn, joints: int, known: bool = True, solved: bool = True) -> SafetyLimits:
    """``known``: whether kinematics say where the tool is; ``solved``: and which joints bring it to a pose."""
    some: dict[str, Any] = {
        "linear_velocity": draw(st.floats(0.1, 2)),
        "angular_velocity": draw(st.floats(0.3, 4)),
        "joint_velocity": draw(st.floats(0.2, 2) | st.tuples(*[st.floats(0.2, 2)] * joints)),
        "position_offset": draw(st.floats(0.01, 0.3)),
        "joint_offset": draw(st.floats(0.05, 1)),
    }
    if draw(st.booleans()):
        some["grip_velocity"] = draw(st.floats(0.2, 5))
    if draw(st.integers(0, 3)) == 0:
        if solved:
            some["joint_acceleration"] = draw(st.floats(2, 40))
        some["linear_acceleration"] = draw(st.floats(1, 20))
    if not known:
        some.update(workspace_low=None, workspace_high=None)
    elif draw(st.booleans()):
        some.update(workspace_low=(-1, -1, 0.4), workspace_high=(0.55, 1, 0.6))
    return SafetyLimits(**some)


@dataclass(frozen=True)
class Answer:
    """One chunk as drawn; what it is in numbers depends on where the arm is then."""

    #: What each row commands, which way the joints go, and when it is due after the one before it, in actions' times.
    rows: tuple[tuple[str, tuple[float, ...], float], ...]
    #: How fast they go, as a share of what is allowed, and what is wrong with the last row.
    share: float
    wrong: float | str | None
    #: How many commands a loop plays before it asks again.
    played: int


def _answers(seed: int) -> list[Answer | None]:
    """Drawn by a generator of its own, as hypothesis' favourites, zeros and short lists, hardly move an arm."""
    rng = np.random.default_rng(seed)
    return [_answer(rng) if rng.random() < 0.9 else None for _ in range(rng.integers(2, 7))]


def _answer(rng: np.random.Generator) -> Answer:
    kinds = [[name] for name in ARM] + [[*ARM] * 8 + ["target_grip", "both", "nothing"] * 2 + ["pose_delta"]]
    names = kinds[rng.integers(len(kinds))]
    gaps = [1.0] * 8 + ([0.3, 1.7, 2.5, 1e-9, 1e-5, 0.01] if rng.random() < 0.3 else [])
    way, turns = rng.choice([-1.0, 1.0], 7), rng.random() < 0.3
    rows = []
    for _ in range(rng.integers(1, 13)):
        way = rng.uniform(-1, 1, 7) if turns else way
        rows.append((str(rng.choice(names)), tuple(way), float(rng.choice(gaps))))
    wrong: Any = [np.nan, np.inf, "short", 400.0][rng.integers(4)] if rng.random() < 0.07 else None
    share = float(rng.choice([0.1, 0.4, 0.7, 0.9, 1.0, 1.1, 1.4, 2.0, 5.0, 30.0]))
    return Answer(tuple(rows), share, wrong, int(rng.integers(1, 16)))


answers = st.integers(0, 2**32 - 1).map(_answers)
rates = st.sampled_from([2.0, 5.0, 10.0, 15.0, 30.0, 100.0, 1000.0]) | st.floats(0.5, 200)


@dataclass
class Maker:
    """Makes rows of what was drawn. ``names``: the arm's actions; for others it gets ``target_joints``.

    ``reach``: how fast the tool goes and turns while every joint goes at 1 rad/s, about.
    """

    allowed: SafetyLimits
    fps: float
    forward: Callable[[Any], Any]
    names: frozenset[str]
    reach: tuple[float, float]

    def __call__(self, answer: Answer | None, q: Array) -> Any:
        """``q``: where the arm was commanded to."""
        if answer is None:
            return None
        fastest = min(
            np.min(self.allowed.joint_velocity),
            self.allowed.linear_velocity / self.reach[0],
            self.allowed.angular_velocity / self.reach[1],
        )
        due, rows = 0.0, []
        for i, (name, way, after) in enumerate(answer.rows):
            due += after / self.fps if i else 0.0
            step = np.array(way[: len(q)]) * answer.share * fastest * max(after, 1e-3) / self.fps
            action, q = self._action(name, q, step)
            if name in ("target_grip", "both"):
                action["target_grip"] = np.array([0.5 + 0.54 * way[0]])
            rows.append({"action": action, "timestamp": due})
        if answer.wrong is not None:
            for name, value in rows[-1]["action"].items():
                rows[-1]["action"][name] = value[:-1] if answer.wrong == "short" else np.full_like(value, answer.wrong)
        return rows

    def _action(self, name: str, q: Array, step: Array) -> tuple[dict[str, Any], Array]:
        if name in ("target_grip", "nothing"):
            return {}, q
        if name == "pose_delta" or (name == "target_pose" and name in self.names):
            return {name: self.forward(q + step)}, q + step
        if name == "joint_delta" and name in self.names:
            return {name: step}, q + step
        return {"target_joints": q + step}, q + step


class Server:
    """Answers what was drawn, then stop; and sees that a chunk that ends an episode moved nothing."""

    def __init__(
        self, drawn: list[Answer | None], make: Maker, joints: Callable[[], Array], moves: Callable[[], int]
    ) -> None:
        """``joints``: where the arm was commanded to; ``moves``: how often it was."""
        self.metadata: Mapping[str, Any] = {"action": {}, "action_fps": make.fps}
        self.timing = SimpleNamespace(last={})
        self.outcomes: Counter[str] = Counter()
        self._answers, self._make, self._joints, self._moves = list(drawn), make, joints, moves
        self._before = 0

    def infer(self, observation: Mapping[str, Any]) -> Any:
        self._before = self._moves()
        return self._make(self._answers.pop(0), self._joints()) if self._answers else []

    def reset(self) -> None:
        pass

    def started(self, episode: EpisodeInfo) -> None:
        pass

    def answered(self, answer: Answered) -> None:
        pass

    def ticked(self, tick: Tick) -> None:
        self.outcomes["played"] += bool(tick.command.action)

    def ended(self, outcome: Outcome) -> None:
        if outcome.failure:
            code, text = outcome.failure
            assert code in ("invalid_action", "bad_observation")
            self.outcomes["refused"] += 1
            if not any(says in text for says in ROBOTS_OWN):
                assert self._moves() == self._before, "a refused chunk moved the arm"


def play(server: Server, robot: Any, allowed: SafetyLimits, seconds: float, task: Any = None) -> None:
    """Three episodes by the driver itself. ``task``: by default the robot is its own."""
    report = Report()
    driver = TimedDriver(server, robot, task or robot, limits=allowed, observers=[report, server])
    driver.run(RunLength(episodes=3, seconds=seconds))
    assert all(episode.seconds <= seconds + 1e-6 for episode in report.episodes)
    assert not any(driver.losses), driver.losses
