"""What a run has measured, as numbers, as a JSON object and as a table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .agreement import Agreement
from .bounded import Loss
from .fit import Fit
from .observer import Answer, EpisodeInfo, Outcome, Tick


@dataclass
class Episode:
    """One episode. ``success`` is None where the robot cannot tell; ``failure`` is an error's code and text.

    ``kept``: False if nothing of it shall be. ``configured``: what had been set in the session by its last answer.
    ``images``: how its images were sent, one after the other where that changed.
    ``scores``: what the task has measured of it beside success. ``review``: what a person has said of it, as
    :meth:`offboard_client.evaluation.Review.as_dict` has it.
    """

    seed: int
    success: bool | None = None
    seconds: float = 0.0
    steps: int = 0
    exchanges: int = 0
    reconnects: int = 0
    failure: tuple[str, str] | None = None
    kept: bool = True
    configured: dict[str, Any] = field(default_factory=dict[str, Any])
    images: list[str] = field(default_factory=list[str])
    scores: dict[str, float] = field(default_factory=dict[str, float])
    review: dict[str, Any] | None = None


@dataclass
class Report:
    """Watches a run (:class:`.observer.RunObserver`), so that an interrupted run still has one.

    A deadline is missed when an exchange took longer on the wall clock than one action lasts, 1 / action_fps:
    a robot that does not prefetch would have stood still for at least one action.
    """

    deadline_ms: float = math.nan
    episodes: list[Episode] = field(default_factory=list[Episode])
    round_trips_ms: list[float] = field(default_factory=list[float])
    server_ms: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    #: Wall seconds: ``observe`` (measuring), ``infer`` (round trips), ``apply`` (playing).
    wall_s: dict[str, float] = field(default_factory=lambda: {"observe": 0.0, "infer": 0.0, "apply": 0.0})
    #: How many answers came too late for anything of them to be played, and of the last of them why.
    unplayed: int = 0
    unplayed_why: str | None = None
    interrupted: bool = False
    #: Why the episodes that were left were not played: :attr:`.TimedDriver.gave_up`, if whoever runs it puts it here.
    gave_up: str | None = None
    #: What failed after the last episode, such as closing the robot: an error's code and text, if whoever runs it puts
    #: them here.
    afterwards: tuple[str, str] | None = None
    #: How many exchanges failed, by the error's code, without ending their episode.
    lost_answers: Counter[str] = field(default_factory=Counter[str])
    #: Seconds that the arm was on each rung of :data:`.observer.Rung`, on the robot's clock.
    rungs: dict[str, float] = field(default_factory=dict[str, float])
    #: Seconds that each stop took: :attr:`.controls.Controls.stops`, if whoever runs it puts them here.
    stops: Sequence[float] = ()
    #: What those who watched missed: the driver's counters, if whoever runs it puts them here.
    losses: Sequence[Loss] = ()
    #: What the check before the run found, as far as whoever runs it has told the driver.
    fit: Fit | None = None
    #: How far a second model that was asked the same agrees, if there is one and whoever runs it puts it here.
    shadow: Agreement | None = None
    _tick: Tick | None = None
    _failed: tuple[str, str] | None = None

    def started(self, episode: EpisodeInfo) -> None:
        """An episode more."""
        self.deadline_ms, self.fit = 1000 * episode.action_period, episode.fit
        self.episodes.append(Episode(seed=episode.seed))

    def answered(self, answer: Answer) -> None:
        """A round trip more; of its stages those called ``server.<stage>_ms`` are kept."""
        self.wall_s["observe"] += answer.observe_ms / 1000
        self.wall_s["infer"] += answer.round_trip_ms / 1000
        self.episodes[-1].reconnects += answer.anew
        self.episodes[-1].configured = dict(answer.configured)
        if answer.images is not None and answer.images not in self.episodes[-1].images:
            self.episodes[-1].images.append(answer.images)
        self._went_on()
        self._failed = answer.failure
        if answer.failure:
            return
        self.episodes[-1].exchanges += 1
        self.round_trips_ms.append(answer.round_trip_ms)
        self.unplayed += answer.dropped is not None
        self.unplayed_why = answer.dropped or self.unplayed_why
        for name, value in answer.timing.items():
            if name.startswith("server.") and name.endswith("_ms"):
                self.server_ms.setdefault(name[7:-3], []).append(value)

    def ticked(self, tick: Tick) -> None:
        """A command more; one that holds still is no step.

        A rung lasts until the next command, on a clock that goes on: a person's hold is one command and a long wait.
        """
        self.wall_s["apply"] += tick.apply_ms / 1000
        self._passed(tick.seconds)
        self._tick = tick
        episode = self.episodes[-1]
        episode.seconds = tick.seconds + (tick.command.seconds if tick.rung != "hold" else 0.0)
        episode.steps += bool(tick.command.action)

    def ended(self, outcome: Outcome) -> None:
        """What became of the episode."""
        if self._tick is not None:
            self._passed(self._tick.seconds + self._tick.command.seconds)
        self._tick = None
        if self._failed != outcome.failure:
            self._went_on()
        self._failed = None
        episode = self.episodes[-1]
        episode.success, episode.failure, episode.kept = outcome.success, outcome.failure, outcome.kept
        episode.scores = dict(outcome.scores)

    def reviewed(self, number: int, review: Mapping[str, Any]) -> None:
        """What a person has said of the episode of this number. Its outcome counts, whatever the task says."""
        episode = self.episodes[number - 1]
        episode.review = dict(review)
        if (outcome := review.get("outcome")) is not None:
            episode.success = outcome == "success"

    def _went_on(self) -> None:
        """The exchange before has ended nothing."""
        if self._failed is not None:
            self.lost_answers[self._failed[0]] += 1

    def _passed(self, seconds: float) -> None:
        """The last command's rung lasted until the episode was so old."""
        if (tick := self._tick) is not None:
            self.rungs[tick.rung] = self.rungs.get(tick.rung, 0.0) + seconds - tick.seconds

    @property
    def successes(self) -> int:
        """Episodes in which the task was done."""
        return sum(episode.success is True for episode in self.episodes)

    @property
    def scores(self) -> dict[str, float]:
        """Of each of the tasks' scores the mean of the episodes that have it and are kept."""
        found: dict[str, list[float]] = {}
        for episode in self.episodes:
            for name, value in (episode.scores if episode.kept else {}).items():
                found.setdefault(name, []).append(value)
        # Divided first: the sum of finite numbers may be none.
        return {name: sum(value / len(values) for value in values) for name, values in found.items()}

    @property
    def steps(self) -> int:
        """Rows played."""
        return sum(episode.steps for episode in self.episodes)

    @property
    def reconnects(self) -> int:
        """How often the policy began a new episode in the midst of one of the robot's, for its session was lost."""
        return sum(episode.reconnects for episode in self.episodes)

    @property
    def missed_deadlines(self) -> int:
        """Exchanges that took longer than one action lasts."""
        return sum(value > self.deadline_ms for value in self.round_trips_ms)

    @property
    def failures(self) -> Counter[str]:
        """How many episodes ended by an error, by its code."""
        return Counter(episode.failure[0] for episode in self.episodes if episode.failure)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "check": None if self.fit is None else self.fit.as_dict(),
            "episodes": len(self.episodes),
            "successes": self.successes,
            "scores": self.scores,
            "steps": self.steps,
            "exchanges": len(self.round_trips_ms),
            "round_trip_ms": percentiles(self.round_trips_ms),
            "server_ms": {stage: percentiles(values) for stage, values in self.server_ms.items()},
            "unplayed": self.unplayed,
            "unplayed_why": self.unplayed_why,
            "missed_deadlines": self.missed_deadlines,
            "deadline_ms": None if math.isnan(self.deadline_ms) else self.deadline_ms,
            "failures": dict(self.failures),
            "lost_answers": dict(self.lost_answers),
            "reconnects": self.reconnects,
            "wall_s": {stage: round(seconds, 3) for stage, seconds in self.wall_s.items()},
            "rungs_s": {rung: round(seconds, 3) for rung, seconds in self.rungs.items()},
            "stop_ms": [round(1000 * seconds, 3) for seconds in self.stops],
            "interrupted": self.interrupted,
            "gave_up": self.gave_up,
            "afterwards": self.afterwards,
            "losses": [asdict(loss) for loss in self.losses if loss],
            "shadow": None if self.shadow is None else self.shadow.as_dict(),
            "episode_log": [asdict(episode) for episode in self.episodes],
        }


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """p50, p95 and p99; None where nothing was measured."""
    if not values:
        return {"p50": None, "p95": None, "p99": None}
    p50, p95, p99 = (float(value) for value in np.percentile(values, [50, 95, 99]))
    return {"p50": p50, "p95": p95, "p99": p99}
