"""The timed driver: so many episodes of so many simulated seconds, unattended."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from offboard_client.errors import ConfigurationError, ConnectionFailed, InvalidAction, OffboardError

from .limits import Limits
from .report import Episode, Report
from .robot import Robot


class PolicySession(Protocol):
    """What the driver needs of :class:`offboard_client.InferenceSession`."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The handshake's ``meta``."""
        ...

    @property
    def timing(self) -> Mapping[str, float]:
        """The stages of the last exchange in ms."""
        ...

    def infer(self, observation: Mapping[str, Any], /) -> Sequence[Mapping[str, Any]] | None:
        """The rows of a chunk; none = stop, None = go on."""
        ...

    def reset(self) -> None:
        """Start a new episode."""
        ...


class Progress(Protocol):
    """Who watches a run."""

    def stepped(self, episode: Episode, report: Report) -> None:
        """A row was played."""
        ...

    def ended(self, episode: Episode, report: Report) -> None:
        """The episode is over."""
        ...


@dataclass(frozen=True)
class Timing:
    """How long a run is."""

    num_iterations: int = 1
    """Episodes."""
    simulation_time: float = 15.0
    """Simulated seconds of one episode; it ends earlier when the policy says stop, or by an error."""

    def __post_init__(self) -> None:
        if self.num_iterations < 1 or not 0 < self.simulation_time < 86400:
            raise ConfigurationError("an episode needs 0 < simulation time < 86400 s, and a run at least one iteration")


class TimedDriver:
    """Plays a policy on a robot.

    It observes, asks for a chunk, plays the chunk to its end by the rows' timestamps, counted from the moment
    the chunk arrived, and asks again. The robot's clock stands while the policy thinks, as a simulation's may.
    A chunk is checked against ``limits`` before its first row is played. When anything goes wrong the episode
    is over and failed: the robot is sent nothing more, so it holds its last command.
    """

    def __init__(
        self, session: PolicySession, robot: Robot, limits: Limits, progress: Progress, report: Report
    ) -> None:
        self._session, self._robot, self._limits = session, robot, limits
        self._progress, self.report = progress, report
        self._period = _period(session.metadata, robot)
        report.deadline_ms = 1000 * self._period

    def run(self, timing: Timing, seed: int = 0) -> None:
        """Play every episode, the i-th with ``seed + i``; what happened is in ``report``.

        Raises ConnectionFailed when the session is lost: the episodes that are left cannot be played.
        """
        for number in range(timing.num_iterations):
            episode = Episode(seed=seed + number)
            self.report.episodes.append(episode)
            try:
                if number:
                    self._session.reset()
                self._robot.reset(episode.seed)
                self._play(episode, timing.simulation_time)
                episode.success = self._robot.succeeded()
            except OffboardError as error:
                episode.success, episode.failure = False, (error.code, error.text)
                if isinstance(error, ConnectionFailed):
                    raise
            finally:
                self._progress.ended(episode, self.report)

    def _play(self, episode: Episode, seconds: float) -> None:
        while (left := seconds - episode.seconds) > 1e-6:
            with self._clocked("observe"):
                observation = self._robot.observe()
            with self._clocked("infer"):
                rows = self._infer(observation, episode)
            if rows is None:
                self._apply({}, min(self._period, left), episode)
                continue
            if not rows:
                return
            actions = [_action(row) for row in rows]
            ends = _ends(rows, self._period)
            self._limits.check(actions, observation)
            begin = episode.seconds
            for action, end in zip(actions, ends, strict=True):
                until = min(begin + end, seconds)
                if until <= episode.seconds:
                    break
                self._apply(action, until - episode.seconds, episode)
                episode.steps += 1
                self._progress.stepped(episode, self.report)

    def _infer(self, observation: Mapping[str, Any], episode: Episode) -> Sequence[Mapping[str, Any]] | None:
        started = time.perf_counter()
        rows = self._session.infer(observation)
        self.report.exchanged(1000 * (time.perf_counter() - started), self._session.timing)
        episode.exchanges += 1
        return rows

    def _apply(self, action: Mapping[str, Any], seconds: float, episode: Episode) -> None:
        with self._clocked("apply"):
            self._robot.apply(action, seconds)
        episode.seconds += seconds

    @contextmanager
    def _clocked(self, stage: str) -> Generator[None, None, None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.report.wall_s[stage] += time.perf_counter() - started


def _period(meta: Mapping[str, Any], robot: Robot) -> float:
    """Seconds that one action lasts. Raises ConfigurationError for a policy that this robot cannot play."""
    declared: Mapping[str, Any] = meta.get("action") or {}
    if unknown := sorted(declared.keys() - robot.actions):
        raise ConfigurationError(
            f"the server answers {', '.join(unknown)}; this robot plays {', '.join(sorted(robot.actions))}. "
            "Serve with a codec that makes these (`offboard codecs` lists them)"
        )
    fps = meta.get("action_fps")
    if not isinstance(fps, int | float) or not 0 < fps <= 1000:
        raise ConfigurationError(
            f"the server does not say at which rate its actions are played (action_fps is {fps!r}); serve with --fps"
        )
    return 1 / fps


def _action(row: Mapping[str, Any]) -> Mapping[str, Any]:
    action = row.get("action")
    if not isinstance(action, Mapping):
        raise InvalidAction(
            f"a row's action must map names to vectors; got {type(action).__name__}. "
            "The model's own vectors mean nothing to this robot: serve with a codec that names its actions"
        )
    return action  # pyright: ignore[reportUnknownVariableType]


def _ends(rows: Sequence[Mapping[str, Any]], period: float) -> list[float]:
    """When each row's time is over, in seconds from the chunk's arrival. Raises InvalidAction."""
    times = [row.get("timestamp") for row in rows]
    numbers = [float(at) for at in times if isinstance(at, int | float)]
    ends = [*numbers[1:], numbers[-1] + period] if numbers else []
    if len(numbers) < len(rows) or not all(0 <= a < b for a, b in zip(numbers, ends, strict=True)):
        raise InvalidAction(f"the rows' timestamps must be seconds that grow from 0; got {times[:8]}")
    return ends
