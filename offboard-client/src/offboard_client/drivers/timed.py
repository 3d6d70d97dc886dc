"""The timed driver: so many episodes of so many simulated seconds, unattended."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import ConfigurationError, ConnectionFailed, ConnectionLost, OffboardError
from ..play import Command, Episode, Guard, PolicySession, Report, SafetyLimits
from ..robots import Robot

#: Times that differ by less are the same time, in seconds: far below any period, far above the rounding of sums.
_SAME_TIME = 1e-6


class Progress(Protocol):
    """Who watches a run."""

    def stepped(self, episode: Episode, report: Report) -> None:
        """A row was played."""
        ...

    def ended(self, episode: Episode, report: Report) -> None:
        """The episode is over."""
        ...


@dataclass(frozen=True)
class RunLength:
    """How long a run is."""

    episodes: int = 1
    """How many episodes to play."""
    seconds: float = 15.0
    """Simulated seconds of one episode; it ends earlier when the policy says stop, or by an error."""

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ConfigurationError(f"episodes is {self.episodes}; expected 1 or more")
        if not 0 < self.seconds < 86400:
            raise ConfigurationError(f"seconds is {self.seconds}; expected seconds of one episode, 0 to 86400")


class TimedDriver:
    """Plays a policy on a robot.

    It observes, asks for a chunk, plays the chunk to its end by the rows' timestamps, counted from the moment
    the chunk arrived, and asks again. The robot's clock stands while the policy thinks, as a simulation's may.
    A chunk is laid on the robot's control periods and checked against ``limits`` as a whole
    (:class:`~offboard_client.play.Guard`) before its first row is played. When anything goes wrong the episode is
    over and failed: the robot is sent nothing more, so it holds its last command.
    """

    def __init__(
        self,
        session: PolicySession,
        robot: Robot,
        *,
        limits: SafetyLimits,
        progress: Progress,
        report: Report,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """``clock``: wall seconds.

        Raises ConfigurationError for a policy that this robot cannot play, or that ``limits`` cannot hold.
        """
        self._session, self._robot = session, robot
        self._progress, self.report, self._clock = progress, report, clock
        self._guard = Guard(robot, limits, session.metadata)
        report.deadline_ms = 1000 * self._guard.action_period

    def run(self, length: RunLength, seed: int = 0) -> None:
        """Play every episode, the i-th with ``seed + i``; what happened is in ``report``.

        An error ends its episode only; a session that was lost is opened anew for the next one. Raises
        ConnectionFailed when that cannot be done: the episodes that are left cannot be played.
        """
        for number in range(length.episodes):
            episode = Episode(seed=seed + number)
            self.report.episodes.append(episode)
            try:
                if number:
                    self._session.reset()
                self._robot.reset(episode.seed)
                self._guard.reset()
                self._play(episode, length.seconds)
                episode.success = self._robot.succeeded()
            except OffboardError as error:
                episode.success, episode.failure = False, (error.code, error.text)
                if isinstance(error, ConnectionFailed) and not isinstance(error, ConnectionLost):
                    raise
            finally:
                self._progress.ended(episode, self.report)

    def _play(self, episode: Episode, limit: float) -> None:
        """``limit``: seconds of the robot's time."""
        while (left := limit - episode.seconds) > self._guard.control_period - _SAME_TIME:
            with self._clocked("observe"):
                observation = self._robot.observe()
            with self._clocked("infer"):
                rows = self._infer(observation, episode)
            if rows is not None and not rows:
                return
            for command in self._guard.plan(rows, observation, left):
                self._apply(command, episode)

    def _apply(self, command: Command, episode: Episode) -> None:
        with self._clocked("apply"):
            self._robot.apply(command.action, command.seconds)
        episode.seconds += command.seconds
        if command.action:
            episode.steps += 1
            self._progress.stepped(episode, self.report)

    def _infer(self, observation: Mapping[str, Any], episode: Episode) -> Sequence[Mapping[str, Any]] | None:
        started = self._clock()
        rows = self._session.infer(observation)
        self.report.exchanged(1000 * (self._clock() - started), self._session.timing.last)
        episode.exchanges += 1
        return rows

    @contextmanager
    def _clocked(self, stage: str) -> Generator[None, None, None]:
        started = self._clock()
        try:
            yield
        finally:
            self.report.wall_s[stage] += self._clock() - started
