"""What a run says to those who watch it: its report, a display, a file, a recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .fit import Fit
from .schedule import Command

#: Why the arm does what it does, from the wished for to the last resort: ``playing`` what the policy answered, a pause
#: included; the still valid ``rest`` of a chunk while the next answer is overdue; a ``hold``, for want of an answer or
#: because somebody asked for it; the robot's ``safe_action``; a ``fault`` that only a person clears. Beside them, what
#: a person ``led`` it to.
Rung = Literal["playing", "rest", "hold", "safe_action", "fault", "led"]
#: All of them, in that order.
RUNGS: tuple[Rung, ...] = get_args(Rung)


@dataclass(frozen=True, slots=True)
class EpisodeInfo:
    """An episode that begins; ``number`` counts from 1. Times are in seconds.

    ``seconds``: how long it may last on the robot's clock. ``control_period``: the robot's. ``action_period``: of one
    of the policy's actions, as it is played: twice as long at half the speed. ``meta``: the handshake's. ``at``: now,
    on the monotonic clock of the other events; ``wall_time``: the same moment since 1970. ``fit``: what the check
    before the run found; None if there was none. ``images``: how images are sent as it begins, as of :class:`Answer`.
    ``filmed``: the cameras whose every picture is told, as a :class:`Frame`; others are in samples only.
    """

    number: int
    seed: int
    seconds: float
    control_period: float
    action_period: float
    meta: Mapping[str, Any]
    at: float
    wall_time: float
    fit: Fit | None = None
    images: str | None = None
    filmed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """An observation that was sent, and what came of it.

    ``rows``: the chunk; [] = stop; None = go on, and after a failure. ``at``: seconds, when it was sent.
    ``observe_ms``: how long the robot took to measure it. ``round_trip_ms``: how long the call took.
    ``timing``: the stages of that in ms, as the session's ``timing.last`` has them; {} after a failure.
    ``failure``: an error's code and text, if it was not answered. ``anew``: the policy has begun a new episode with it,
    for its session was lost. ``dropped``: why nothing of ``rows`` is played, if that is so: they came too late.
    ``configured``: what :meth:`configure` had set in the session by then, by the options' names.
    ``images``: how the observation's images were sent: ``raw``, as they are, or ``jpeg:QUALITY``, of which the policy
    saw less than ``observation`` holds; None where the session does not say, as in this process.
    """

    observation: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]] | None
    at: float
    observe_ms: float
    round_trip_ms: float
    timing: Mapping[str, float]
    failure: tuple[str, str] | None = None
    anew: bool = False
    dropped: str | None = None
    configured: Mapping[str, Any] = field(default_factory=dict[str, Any])
    images: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ShadowAnswer:
    """What a second model, which drives nothing, answered to an observation that the policy had answered.

    ``beside``: the policy's answer. ``rows``, ``at``, ``round_trip_ms``, ``timing``, ``failure``, ``anew``: as of
    :class:`Answer`, of the second model's exchange. ``server``: its address. ``meta``: its handshake's; {} while it has
    none.
    """

    beside: Answer
    rows: Sequence[Mapping[str, Any]] | None
    at: float
    round_trip_ms: float
    timing: Mapping[str, float]
    server: str
    meta: Mapping[str, Any]
    failure: tuple[str, str] | None = None
    anew: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Tick:
    """A command that the robot has played.

    ``at``: seconds, when it was handed over. ``seconds``: how long the episode lasted before it, on the robot's clock.
    ``observation``: the newest that there was. ``apply_ms``: how long the robot's ``apply`` took; less than the command
    where the robot was stopped meanwhile.
    """

    command: Command
    rung: Rung
    at: float
    seconds: float
    observation: Mapping[str, Any]
    apply_ms: float


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What was observed, whether the policy was asked about it or not, for those that want to see all of a run.

    ``at``: seconds, when it was there. ``seconds``: how old the episode was, on the robot's clock. ``observe_ms``: how
    long the robot took to measure it. ``taken``: when names of it were measured, on the clock of ``at``; at ``at`` if
    absent. ``asked``: whether the policy is asked about it.
    """

    observation: Mapping[str, Any]
    at: float
    seconds: float
    observe_ms: float
    taken: Mapping[str, float] = field(default_factory=dict[str, float])
    asked: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A picture, (H, W, 3) uint8, that a camera has taken by itself. ``name``: as in observations.

    ``at``: seconds, when it was taken; on the clock of the other events.
    """

    name: str
    picture: NDArray[np.uint8]
    at: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an episode. ``success``: None where nobody can tell. ``failure``: an error's code and text.

    ``stopped``: somebody ended it before its time. ``kept``: False if nothing of it shall be. ``scores``: what the task
    has measured of it beside success, by name; {} where it was not judged. ``unanswered``: why the arm held still for
    want of an answer when somebody ended it, an error's code and text, where that was not the policy's own affair.
    """

    success: bool | None = None
    failure: tuple[str, str] | None = None
    stopped: bool = False
    kept: bool = True
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    unanswered: tuple[str, str] | None = None


class RunObserver(Protocol):
    """Watches a run. Called on the thread that controls the arm, so at once or within a :class:`.bounded.Bounded`.

    Everything it is given is the run's own: to be read, never written.
    """

    def started(self, episode: EpisodeInfo, /) -> None:
        """An episode begins: the robot is about to be brought where it starts."""
        ...

    def answered(self, answer: Answer, /) -> None:
        """An observation was answered, or its exchange failed."""
        ...

    def ticked(self, tick: Tick, /) -> None:
        """A command was played."""
        ...

    def ended(self, outcome: Outcome, /) -> None:
        """The episode is over; the robot was sent its last command."""
        ...


@runtime_checkable
class ShadowObserver(RunObserver, Protocol):
    """An observer that wants to know, too, what a second model answers that drives nothing."""

    def shadow_answered(self, answer: ShadowAnswer, /) -> None:
        """It has answered, or its exchange failed; on its thread, some time after the policy's own answer."""
        ...


@runtime_checkable
class FilmingObserver(RunObserver, Protocol):
    """An observer that wants every picture of cameras that can be looked at while the arm is played
    (:attr:`~offboard_client.robots.Robot.live_cameras`).
    """

    def filmed(self, frame: Frame, /) -> None:
        """A camera has taken it; on another thread than the arm's."""
        ...


@runtime_checkable
class SamplingObserver(RunObserver, Protocol):
    """An observer that wants to see more than what the policy is asked about: the robot is observed for it in between.

    ``sample_hz``: so often a second of the robot's time, as far as the robot can be observed without being late.
    """

    sample_hz: float

    def sampled(self, sample: Sample, /) -> None:
        """The robot was observed."""
        ...


@runtime_checkable
class IdleObserver(RunObserver, Protocol):
    """An observer that wants to see the robot also while a person is waited for: before an episode, and in a hold.

    ``idle_hz``: so often a second, as far as the robot can be observed so often.
    """

    idle_hz: float

    def idled(self, sample: Sample, /) -> None:
        """The robot was observed; ``seconds`` is 0, whether an episode goes on or not."""
        ...
