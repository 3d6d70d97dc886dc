"""A robot on which the trials of an evaluation are played."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from typing import Any

from ..drivers import Playing, RunLength, TimedDriver
from ..errors import OffboardError, RobotFailed
from ..play import (
    Answer,
    Controls,
    Episode,
    EpisodeInfo,
    Outcome,
    PolicySession,
    Report,
    RobotLimits,
    RunObserver,
    Tick,
    compare,
)
from ..robots import Robot, Task
from .measured import measured_trial
from .plan import Turn
from .trials import COUNTED, Trial, TrialOutcome


@dataclass
class Watched:
    """Who watches one trial beside the report. ``name``: of its recording once the trial is over, or ""."""

    observers: Sequence[RunObserver] = ()
    name: str = ""


@dataclass(frozen=True)
class Judgement:
    """What came of a trial; see :class:`.trials.Trial`. ``outcome``: None: what the run itself says."""

    outcome: TrialOutcome | None = None
    score: float | None = None
    tags: tuple[str, ...] = ()
    note: str = ""
    items: int | None = None
    items_total: int | None = None


@dataclass
class Station:
    """One robot that is connected, and how turns are played on it.

    ``open_session``: of a model, by its id; ``accepts``: told of each with its model, and what it raises ends the
    evaluation, such as that another policy answers than in the trials before. ``seconds``: of a trial at most, on the
    robot's clock. ``controls``: Quit ends a trial. ``ready``: asked before each, where a person sets the scene up.
    ``judge``: asked after each of which the task itself cannot tell whether it was done. ``watch``: who watches a turn,
    for as long as it is played.

    ``attended``: whether the arm waits for somebody's Start in each trial. ``reviewed``: asked instead of ``judge``,
    after each trial that somebody has ended or that was over, with what the task says of it, None where it cannot or
    nobody waited for that; comes back with what counts, or None if nothing does and no trial was played.
    """

    robot: Robot
    task: Task
    open_session: Callable[[str], PolicySession]
    limits: RobotLimits
    playing: Playing
    seconds: float
    controls: Controls = field(default_factory=Controls)
    ready: Callable[[Turn], None] | None = None
    judge: Callable[[Turn], Judgement] | None = None
    watch: Callable[[Turn], AbstractContextManager[Watched]] = lambda turn: nullcontext(Watched())
    attended: bool = False
    reviewed: Callable[[Turn, Judgement | None], Judgement | None] | None = None
    accepts: Callable[[str, PolicySession], None] = lambda model, session: None

    def play(self, turn: Turn) -> Trial | None:
        """What came of it; None where somebody has ended it before its time, which says nothing about the model.

        Raises RobotFailed, and what ``accepts`` raises.
        """
        if self.ready is not None:
            self.ready(turn)
        try:
            session = self.open_session(turn.model)
        except OffboardError as error:
            return self._failed(turn, error)
        report, end, watched = Report(), _End(), Watched()
        failure: OffboardError | None = None
        with closing(session):
            self.accepts(turn.model, session)
            try:
                with self.watch(turn) as watched:
                    self._drive(session, (report, end, *watched.observers), turn)
            except RobotFailed:
                raise  # no other model would fare better
            except OffboardError as error:
                failure = error
        if not report.episodes:
            return None if failure is None else self._failed(turn, failure)
        episode = report.episodes[-1]
        if failure is not None and episode.failure is None:
            return self._failed(turn, failure)
        judged = self._judged(turn, episode, end)
        if judged is None:
            return None
        return measured_trial(
            report, turn.model, turn.start, outcome=judged.outcome, score=judged.score, tags=judged.tags,
            note=judged.note, at=time.time(), recording=watched.name, items=judged.items,
            items_total=judged.items_total,
        )  # fmt: skip

    # -- inside ----------------------------------------------------------------------------------------
    def _drive(self, session: PolicySession, observers: Iterable[RunObserver], turn: Turn) -> None:
        fit = compare(self.robot.spec, session.metadata, self.task.instruction)
        fit.check()
        driver = TimedDriver(
            session, self.robot, self.task, limits=self.limits, observers=observers, playing=self.playing,
            controls=self.controls, fit=fit, attended=self.attended,
        )  # fmt: skip
        driver.run(RunLength(1, self.seconds), turn.start, endless=False)

    def _judged(self, turn: Turn, episode: Episode, end: _End) -> Judgement | None:
        if episode.failure is not None:
            return Judgement()
        if self.reviewed is not None:
            by_task = None if end.stopped or episode.success is None else self._by_task(episode)
            return _unless_unanswered(self.reviewed(turn, by_task), end.unanswered)
        if end.stopped:
            return None
        if episode.success is None:
            assert self.judge is not None
            return self.judge(turn)
        return self._by_task(episode)

    def _by_task(self, episode: Episode) -> Judgement:
        score = _score(episode.scores)
        if episode.success:
            return Judgement("success", score)
        if score:
            return Judgement("partial", score)
        over = episode.seconds >= self.seconds - 2 * self.robot.control_period
        return Judgement("stall" if over else "fail", score)

    def _failed(self, turn: Turn, failure: OffboardError) -> Trial:
        note = f"{failure.code}: {failure.text}"
        return Trial(turn.model, turn.start, "error", note=note, at=time.time())


class _End:
    """Watches a trial: whether somebody has ended it, and whether the arm had answers until then."""

    stopped = False
    #: What had failed, an error's code and text, where for that reason the arm held still in the end.
    unanswered: tuple[str, str] | None = None

    def started(self, episode: EpisodeInfo) -> None:
        """Nothing."""

    def answered(self, answer: Answer) -> None:
        """Nothing."""

    def ticked(self, tick: Tick) -> None:
        """Nothing."""

    def ended(self, outcome: Outcome) -> None:
        """The trial is over."""
        self.stopped = outcome.stopped and outcome.failure is None
        self.unanswered = outcome.unanswered


def _unless_unanswered(judged: Judgement | None, why: tuple[str, str] | None) -> Judgement | None:
    """A person who ends a trial in which nothing moves any more says nothing of the model, whatever they say.

    Not even that it succeeded: where only those counted that came out well, a model would look better than it is.
    """
    if judged is None or why is None or judged.outcome not in COUNTED:
        return judged
    note = f"{why[0]}: {why[1]} (so it was before the trial was ended, as {judged.outcome})"
    return Judgement("error", tags=judged.tags, note="; ".join(filter(None, (note, judged.note))))


def _score(scores: Mapping[str, Any]) -> float | None:
    """How much of the task was done, where the task says so under that name."""
    score = scores.get("score")
    return float(score) if score is not None and 0 <= score <= 1 else None
