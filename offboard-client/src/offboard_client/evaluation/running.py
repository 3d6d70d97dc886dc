"""An evaluation while it is played: turn after turn, each trial in the log before the next, on one robot or several."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .comparison import Comparison, compare_models
from .log import TrialLog
from .plan import Turn
from .station import Station
from .trials import Trial

#: Why an evaluation ends before its plan that shall only go on until then.
DECIDED = "every two models are told apart"
#: So many errors of one model in a row are none that the next trial heals.
ERRORS = 3


@dataclass
class Evaluation:
    """The trials that are left of a log's plan.

    ``until_decided``: end as soon as every two models are told apart, before the plan does. ``go_on``: after a trial
    that ended by an error, too; the rest of a model's trials are left out after three in a row, and it is one of
    ``given_up``. ``on_trial``: told of each trial, when it is in the log; one at a time. ``seen``: the trials so far as
    whoever reads the report sees them, which is what decides.
    """

    log: TrialLog
    until_decided: bool = False
    go_on: bool = False
    on_trial: Callable[[Turn, Trial], None] = lambda turn, trial: None
    seen: Callable[[Sequence[Trial]], Sequence[Trial]] = lambda trials: trials
    given_up: list[str] = field(default_factory=list[str])
    #: Why it has ended before its plan, where it has.
    ended: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopping: bool = False
    _errors: Counter[str] = field(default_factory=Counter[str])
    _playing: int = 0

    def __post_init__(self) -> None:
        self._left = self.log.plan.left(self.log.trials, again=True)
        self._judge()

    @property
    def left(self) -> int:
        """How many turns are still to be played, or are not over yet."""
        return len(self._left) + self._playing

    def comparisons(self) -> list[Comparison]:
        """Of all models, from the planned starts, with the trials so far."""
        plan = self.log.plan
        return compare_models(
            self.seen(self.log.trials), plan.models, plan.planned, starts=plan.starts, measure=plan.measure,
            level=plan.level, ahead=False,
        )  # fmt: skip

    def stop(self) -> None:
        """No turn begins any more. From any thread."""
        self._stopping = True

    def run(self, stations: Sequence[Station]) -> None:
        """Play what is left, a station's turns one after the other, those of several at the same time.

        Raises what a station raises that is no error of a trial, KeyboardInterrupt for example, and OSError where the
        log cannot be written.
        """
        first, *others = stations
        failed: list[BaseException] = []

        def work(station: Station) -> None:
            try:
                self._work(station)
            except BaseException as error:  # raised again by who waits
                failed.append(error)
                self.stop()

        threads = [threading.Thread(target=work, args=(station,), name="offboard-trial") for station in others]
        for thread in threads:
            thread.start()
        try:
            self._work(first)
        finally:
            if threads and not self._done:
                self.stop()
            for thread in threads:
                thread.join()
        if failed:
            raise failed[0]

    # -- inside ----------------------------------------------------------------------------------------
    @property
    def _done(self) -> bool:
        return self._stopping or not self._left

    def _work(self, station: Station) -> None:
        while (turn := self._take()) is not None:
            trial = station.play(turn)
            if trial is None:
                self.stop()
                return
            self._ended(turn, trial)

    def _take(self) -> Turn | None:
        with self._lock:
            if self._done:
                return None
            self._playing += 1
            return self._left.pop(0)

    def _ended(self, turn: Turn, trial: Trial) -> None:
        with self._lock:
            self.log.append(trial)
            self._playing -= 1
            if trial.outcome == "annulled":
                # From the same start once more, before anything else: the scene is still as it was.
                self._left.insert(0, turn)
            self._count(turn, trial)
            self._judge()
            self.on_trial(turn, trial)

    def _count(self, turn: Turn, trial: Trial) -> None:
        if trial.outcome != "error":
            self._errors[trial.model] = 0
            return
        self._errors[trial.model] += 1
        if not self.go_on:
            self._end(f"{turn.label} failed: {trial.note}")
        elif self._errors[trial.model] == ERRORS:
            self.given_up.append(trial.model)
            self._left = [turn for turn in self._left if turn.model != trial.model]

    def _judge(self) -> None:
        if self.until_decided and self._left and told_apart(self.comparisons()):
            self._end(DECIDED)

    def _end(self, why: str) -> None:
        self.ended, self._stopping = why, True


def told_apart(comparisons: Sequence[Comparison]) -> bool:
    """Whether there is a verdict on every two models."""
    return bool(comparisons) and all(each.better for each in comparisons)
