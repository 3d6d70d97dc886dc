"""The timed driver: so many episodes of so many simulated seconds, unattended."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import (
    ConfigurationError,
    ConnectionFailed,
    ConnectionLost,
    OffboardError,
    RobotFailed,
    ServerChanged,
    counted,
    told,
)
from ..play import (
    Controls,
    Fit,
    Ladder,
    Loss,
    Outcome,
    PolicySession,
    PolicyStream,
    RobotLimits,
    RunObserver,
    SafetyLimits,
    read_place,
)
from ..robots import Asked, Robot, Task, Vector, held, measured, number, truth
from .attention import Attention
from .player import Player
from .playing import Playing
from .sampling import Idling
from .telling import Audience, described

_A_DAY = 86400
#: So many faults one after the other are none that the next episode heals.
_FAULTS = 3


@dataclass(frozen=True)
class RunLength:
    """How long a run is."""

    episodes: int = 1
    """How many episodes to play."""
    seconds: float | None = None
    """Seconds of one episode by the robot's clock: 15, or until the person at the keyboard, or the policy, ends it."""

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ConfigurationError(f"episodes is {self.episodes}; expected 1 or more")
        if self.seconds is not None and not 0 < self.seconds < _A_DAY:
            raise ConfigurationError(
                f"seconds is {self.seconds}; expected seconds of one episode, above 0 and below {_A_DAY}"
            )

    def limit(self, attended: bool) -> float:
        """Seconds after which an episode ends at the latest. ``attended``: by somebody who says when."""
        return self.seconds or (_A_DAY if attended else 15.0)


class TimedDriver:
    """Plays a policy on a robot that is connected, episode after episode of a task.

    It observes, asks for a chunk, plays the chunk to its end by the rows' timestamps, counted from the moment
    the chunk arrived, and asks again. The robot's clock stands while the policy thinks, as a simulation's may.
    A chunk is laid on the robot's control periods and checked against ``limits`` as a whole
    (:class:`~offboard_client.play.Guard`) before its first row is played. When anything goes wrong the episode is
    over and failed. At the end of each episode, whatever ended it, the robot is told to stop.

    It calls the robot and the task on the thread of :meth:`run`, and waits for them as long as they take: one whose
    driver hangs hangs the run, and the arm is where it was left. ``offboard run`` and ``offboard evaluate`` give it a
    :class:`~offboard_client.robots.WatchedRobot` and a :class:`~offboard_client.robots.WatchedTask`, whose calls have
    an end; so should a program that drives hardware.
    """

    def __init__(
        self,
        session: PolicySession,
        robot: Robot,
        task: Task,
        *,
        limits: SafetyLimits | RobotLimits,
        observers: Iterable[RunObserver] = (),
        playing: Playing | None = None,
        attended: bool = False,
        controls: Controls | None = None,
        fit: Fit | None = None,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``limits``: with those of a file (:func:`~offboard_client.play.load_limits`) come a home, to which the arm is
        brought before each episode unless the task says where that starts, a safe action, and a patience that rules
        over that of ``playing``.
        ``observers``: told what happens, one after the other; what they raise is not the arm's affair.

        ``controls``: whatever posts Hold, Stop, Reset or Quit there has the robot told to stop at once. After a hold
        the policy is asked anew; after Stop and Reset the next episode waits for Start. An answer that is awaited
        meanwhile is awaited to the end, and not played. ``attended``: each episode waits for Start, until somebody
        quits. ``fit``: what a check before the run has found (:func:`~offboard_client.play.compare`), for the
        observers. ``clock``: wall seconds; ``sleep``: how a person is waited for.

        Raises ConfigurationError for a policy that this robot cannot play, or that ``limits`` cannot hold.
        """
        self._session, self._robot, self._task, self._clock = session, robot, task, clock
        self._audience = Audience(observers, clock, fit)
        self._meta = session.metadata
        self._limits = limits if isinstance(limits, RobotLimits) else RobotLimits(limits)
        self._guard = self._limits.guard(robot, self._meta)
        idling = Idling(robot, self._audience, clock)
        self._attention = Attention(controls or Controls(), robot, self._guard.control_period, sleep, idling.look)
        self._playing, self._attended = playing or Playing(), attended
        self._faults = 0
        #: Why the run has ended before its last episode, where nothing was raised.
        self.gave_up: str | None = None

    @property
    def losses(self) -> list[Loss]:
        """What each observer missed so far; the counters go on with the run."""
        return self._audience.losses

    def run(self, length: RunLength, seed: int = 0, *, endless: bool | None = None) -> None:
        """Play every episode, the i-th with ``seed + i``; what happens is told the observers.

        ``endless``: until somebody quits, however many were asked for; as attended runs are unless it is said.

        An error ends its episode only; a session that was lost is opened anew for the next one. A fault, an arm that
        held still until its patience was over, fails the episode too; after three in a row nobody is there to clear
        them, and the run is over (:attr:`gave_up`). Raises
        ConnectionFailed when that cannot be done, ServerChanged where another policy answers by then, and RobotFailed
        for a robot or a task that fails: the episodes that are left cannot be played.
        """
        limits = self._limits
        endless = self._attended if endless is None else endless
        ladder = Ladder(limits.patience or self._playing.patience, bool(limits.safe_action))
        with self._playing.stream(self._session, self._clock) as stream, self._attention.paid():
            player = Player(
                self._robot, self._task, stream, self._guard, ladder, self._attention, self._audience, self._clock,
                limits.safe_action,
            )  # fmt: skip
            for number in itertools.count() if endless else range(length.episodes):
                if not self._attention.may_begin(self._attended):
                    return
                self._episode(player, stream, number + 1, seed + number, length.limit(self._attended))
                if self._faults == _FAULTS and not self._attended and number + 1 < length.episodes:
                    left = counted(length.episodes - number - 1, "episode")
                    self.gave_up = f"{_FAULTS} faults in a row; {left} not played"
                    return

    def _episode(self, player: Player, stream: PolicyStream, number: int, seed: int, seconds: float) -> None:
        periods = self._guard.control_period, stream.action_period
        images = getattr(self._session, "images", None)
        self._audience.started(number, seed, seconds, periods, self._meta, images, player.filmed)
        outcome = Outcome(stopped=True)
        player.want.begin()
        try:
            if number > 1:
                stream.reset()
            with held(self._robot):
                if self._at_start(seed) and player.play(seconds) and not self._attention.ended():
                    with Asked("succeeded"):
                        judged: Any = self._task.succeeded()
                    outcome = Outcome(None if judged is None else truth(judged, "what the task says of success"))
                    outcome = replace(outcome, scores=self._scores())
            if not outcome.stopped and not player.want.settle():
                outcome = Outcome(stopped=True)
            if (owed := player.want.unanswered) is not None:
                outcome = replace(outcome, unanswered=described(owed))
        except OffboardError as error:
            outcome = Outcome(False, described(error))
            unopened = isinstance(error, ConnectionFailed) and not isinstance(error, ConnectionLost)
            if (unopened and not player.fault) or isinstance(error, (RobotFailed, ServerChanged)):
                raise
        except Exception as error:
            outcome = Outcome(False, ("internal", told(error)))
            raise
        finally:
            self._faults = self._faults + 1 if player.fault else 0
            self._audience.ended(replace(outcome, kept=self._attention.over()))

    def _scores(self) -> Mapping[str, float]:
        scores: Callable[[], Mapping[str, Any]] | None = getattr(self._task, "scores", None)
        if scores is None:
            return {}
        with Asked("scores"):
            return {name: number(value, f"the task's score {name}") for name, value in scores().items()}

    def _at_start(self, seed: int) -> bool:
        """Brings the robot to where the episode starts; again, where it was stopped on its way. False if it ended."""
        while self._attention.may_move():
            if not self._bring(self._start(seed)):
                continue
            with Asked("reset"):
                self._task.reset(seed)
            self._guard.reset()
            if not self._attention.lost():
                return True
        return False

    def _start(self, seed: int) -> Mapping[str, Vector]:
        """Where the arm is brought before the scene is reset."""
        start: Callable[[int], Mapping[str, Any] | None] | None = getattr(self._task, "start", None)
        if start is not None:
            with Asked("start"):
                stated = start(seed)
            if stated is not None:
                place = read_place(stated, "the task's start")
                self._guard.check_place(place, "the task's start")
                return place
        return self._limits.home or {}

    def _bring(self, place: Mapping[str, Vector]) -> bool:
        """False where it was stopped on its way."""
        if not place:
            return True
        self._guard.reset()
        with Asked("observe"):
            self._attention.observe()  # a robot that was stopped plays again
        for command in self._guard.bring(place, self._measured):
            if self._attention.lost():
                return False
            with self._attention.in_motion(), Asked("apply"):
                command.play_on(self._robot)
        return not self._attention.lost()

    def _measured(self) -> Mapping[str, Any]:
        return measured(self._robot)
