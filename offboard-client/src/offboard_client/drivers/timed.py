"""The timed driver: so many episodes of so many simulated seconds, unattended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import ConfigurationError, ConnectionFailed, ConnectionLost, OffboardError, RobotFailed, told
from ..play import (
    Answer,
    Command,
    Controls,
    EpisodeInfo,
    Guard,
    Loss,
    Outcome,
    PolicySession,
    Rung,
    RunObserver,
    SafetyLimits,
    Shielded,
    Tick,
)
from ..robots import Asked, Robot, Task, held
from .attention import Attention

#: Times that differ by less are the same time, in seconds: far below any period, far above the rounding of sums.
_SAME_TIME = 1e-6


@dataclass(frozen=True)
class RunLength:
    """How long a run is."""

    episodes: int = 1
    """How many episodes to play."""
    seconds: float = 15.0
    """Seconds of one episode, by the robot's clock; it ends earlier when the policy says stop, or by an error."""

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ConfigurationError(f"episodes is {self.episodes}; expected 1 or more")
        if not 0 < self.seconds < 86400:
            raise ConfigurationError(f"seconds is {self.seconds}; expected seconds of one episode, 0 to 86400")


class TimedDriver:
    """Plays a policy on a robot that is connected, episode after episode of a task.

    It observes, asks for a chunk, plays the chunk to its end by the rows' timestamps, counted from the moment
    the chunk arrived, and asks again. The robot's clock stands while the policy thinks, as a simulation's may.
    A chunk is laid on the robot's control periods and checked against ``limits`` as a whole
    (:class:`~offboard_client.play.Guard`) before its first row is played. When anything goes wrong the episode is
    over and failed. At the end of each episode, whatever ended it, the robot is told to stop.
    """

    def __init__(
        self,
        session: PolicySession,
        robot: Robot,
        task: Task,
        *,
        limits: SafetyLimits,
        observers: Iterable[RunObserver] = (),
        controls: Controls | None = None,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``observers``: told what happens, one after the other; what they raise is not the arm's affair.

        ``controls``: whatever posts Hold, Stop, Reset or Quit there has the robot told to stop at once. After a hold
        the policy is asked anew; after Stop and Reset the next episode waits for Start. An answer that is awaited
        meanwhile is awaited to the end, and not played. ``clock``: wall seconds; ``sleep``: how a person is waited for.

        Raises ConfigurationError for a policy that this robot cannot play, or that ``limits`` cannot hold.
        """
        self._session, self._robot, self._task, self._clock = session, robot, task, clock
        self._observers = [each if isinstance(each, Shielded) else Shielded(each) for each in observers]
        self._meta = session.metadata
        self._guard = Guard(robot, limits, self._meta)
        self._attention = Attention(controls or Controls(), robot, self._guard.control_period, sleep)

    @property
    def losses(self) -> list[Loss]:
        """What each observer missed so far; the counters go on with the run."""
        return [observer.loss for observer in self._observers]

    def run(self, length: RunLength, seed: int = 0) -> None:
        """Play every episode, the i-th with ``seed + i``; what happens is told the observers.

        An error ends its episode only; a session that was lost is opened anew for the next one. Raises
        ConnectionFailed when that cannot be done, and RobotFailed for a robot or a task that fails: the episodes that
        are left cannot be played.
        """
        with self._attention.paid():
            for number in range(length.episodes):
                if not self._attention.may_begin():
                    return
                self._episode(number + 1, seed + number, length.seconds)

    def _episode(self, number: int, seed: int, seconds: float) -> None:
        self._start(number, seed, seconds)
        outcome = Outcome(stopped=True)
        try:
            if number > 1:
                self._session.reset()
            with held(self._robot):
                if self._at_start(seed) and self._play(seconds) and not self._attention.ended():
                    with Asked("succeeded"):
                        outcome = Outcome(self._task.succeeded())
        except OffboardError as error:
            outcome = Outcome(False, _failure(error))
            unopened = isinstance(error, ConnectionFailed) and not isinstance(error, ConnectionLost)
            if unopened or isinstance(error, RobotFailed):
                raise
        except Exception as error:
            outcome = Outcome(False, ("internal", told(error)))
            raise
        finally:
            outcome = replace(outcome, kept=self._attention.kept())
            for observer in self._observers:
                observer.ended(outcome)

    def _at_start(self, seed: int) -> bool:
        """Brings the robot to where the episode starts; again, where it was stopped on its way. False if it ended."""
        while self._attention.may_move():
            with Asked("reset"):
                self._task.reset(seed)
            self._guard.reset()
            if not self._attention.lost():
                return True
        return False

    def _play(self, limit: float) -> bool:
        """``limit``: seconds of the robot's time. False if somebody ended it before."""
        played, observation = 0.0, dict[str, Any]()
        while (left := limit - played) > self._guard.control_period - _SAME_TIME:
            if self._attention.holding:
                self._apply(Command({}, self._guard.control_period), observation, played, "hold")
            if not self._attention.may_move():
                return False
            observation, rows = self._ask()
            if rows is not None and not rows:
                return True
            with self._attention.in_motion():
                for command in self._guard.plan(rows, observation, left):
                    if self._attention.lost():
                        self._guard.reset()  # the robot may not be where it was sent
                        break
                    self._apply(command, observation, played)
                    played += command.seconds
        return True

    def _start(self, number: int, seed: int, seconds: float) -> None:
        if self._observers:
            periods = self._guard.control_period, self._guard.action_period
            episode = EpisodeInfo(number, seed, seconds, *periods, self._meta, self._clock(), time.time())
            for observer in self._observers:
                observer.started(episode)

    def _observe(self) -> dict[str, Any]:
        with Asked("observe"):
            observation = dict(self._attention.observe())
            if (instruction := self._task.instruction) is not None:
                observation["task"] = instruction
            return observation

    def _ask(self) -> tuple[dict[str, Any], Sequence[Mapping[str, Any]] | None]:
        began = self._clock()
        observation = self._observe()
        sent = self._clock()
        try:
            rows = self._session.infer(observation)
        except OffboardError as error:
            self._answered(observation, None, began, sent, _failure(error))
            raise
        self._answered(observation, rows, began, sent)
        return observation, rows

    def _answered(
        self,
        observation: Mapping[str, Any],
        rows: Sequence[Mapping[str, Any]] | None,
        began: float,
        sent: float,
        failure: tuple[str, str] | None = None,
    ) -> None:
        if self._observers:
            spent = 1000 * (sent - began), 1000 * (self._clock() - sent)
            timing: Mapping[str, float] = {} if failure else self._session.timing.last
            answer = Answer(observation, rows, sent, *spent, timing, failure)
            for observer in self._observers:
                observer.answered(answer)

    def _apply(self, command: Command, observation: Mapping[str, Any], played: float, rung: Rung = "playing") -> None:
        at = self._clock()
        with Asked("apply"):
            self._robot.apply(command.action, command.seconds)
        if not self._observers:
            return
        tick = Tick(command, rung, at, played, observation, 1000 * (self._clock() - at))
        for observer in self._observers:
            observer.ticked(tick)


def _failure(error: OffboardError) -> tuple[str, str]:
    return error.code, error.text
