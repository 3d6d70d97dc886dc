"""What came of each trial, as plain data, and which trials of two models belong together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, cast, get_args

from ..errors import BadParameter, brief, unknown

#: What came of a trial. ``partial``: a part of the task was done, as ``score`` says. ``stall``: the time was over.
#: ``unsafe``: it had to be ended. ``annulled``: it does not count and is repeated, for a reason outside the model.
#: ``error``: nothing was learnt of the model, for a program, the network or the robot failed.
TrialOutcome = Literal["success", "partial", "fail", "stall", "unsafe", "annulled", "error"]
OUTCOMES: tuple[TrialOutcome, ...] = get_args(TrialOutcome)
#: Those that say something about the model.
COUNTED: tuple[TrialOutcome, ...] = ("success", "partial", "fail", "stall", "unsafe")
#: What models are compared by: the share of successes, or the mean score.
Measure = Literal["success", "score"]
MEASURES: tuple[Measure, ...] = get_args(Measure)


@dataclass(frozen=True)
class Trial:
    """One attempt of one model from one start.

    ``model``, ``start``: which model, and the seed of where the robot began. ``score``: how much of the task was done,
    from 0 to 1; a ``partial`` has one, of the others it is 1 for a success and else 0 unless it is given. ``tags``:
    failure modes. ``note``: a person's words; the reason of an ``annulled`` or ``error``. ``at``: seconds since 1970,
    when it ended. ``seconds``, ``steps``: how long it took on the robot's clock, how many actions were played.
    ``stages_ms``: by stage, ``round_trip`` among them, its p50 and p99 in ms. ``rungs_s``: seconds on each rung of
    :data:`offboard_client.play.Rung`. ``recording``: the name of its recording. ``items``, ``items_total``: how many
    things were done, and of how many. ``was``: what had come of an ``annulled`` one that was annulled afterwards.

    Raises BadParameter where these cannot be.
    """

    model: str
    start: int
    outcome: TrialOutcome
    score: float | None = None
    tags: tuple[str, ...] = ()
    note: str = ""
    at: float | None = None
    seconds: float | None = None
    steps: int | None = None
    stages_ms: Mapping[str, tuple[float, float]] = field(default_factory=dict[str, "tuple[float, float]"])
    rungs_s: Mapping[str, float] = field(default_factory=dict[str, float])
    recording: str = ""
    items: int | None = None
    items_total: int | None = None
    was: TrialOutcome | None = None

    def __post_init__(self) -> None:
        for outcome in (self.outcome, self.was or self.outcome):
            if outcome not in OUTCOMES:
                raise BadParameter(unknown("outcome", outcome, OUTCOMES))
        if self.score is not None and not 0 <= self.score <= 1:  # NaN, too
            raise BadParameter(f"the score of a trial is from 0 to 1, not {self.score!r}")
        if self.outcome == "partial" and self.score is None:
            raise BadParameter("a trial with the outcome 'partial' has a score from 0 to 1: how much was done")
        numbers = [self.at, self.seconds, self.steps, self.items, self.items_total, *self.rungs_s.values()]
        numbers += [number for pair in self.stages_ms.values() for number in pair]
        if not all(number is None or math.isfinite(number) for number in numbers):
            raise BadParameter("times and counts of a trial are finite numbers")

    @property
    def counted(self) -> bool:
        """Whether it says something about the model."""
        return self.outcome in COUNTED

    @property
    def came(self) -> str:
        """What came of it in words, with what it was before it was annulled."""
        return f"{self.outcome}, was {self.was}" if self.was else self.outcome

    def value(self, measure: Measure) -> float:
        """The trial as a number from 0 to 1. What was unsafe is 0 whatever was done before."""
        if measure == "success" or self.score is None:
            return float(self.outcome == "success")
        return 0.0 if self.outcome == "unsafe" else float(self.score)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data, without what is not known."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "", (), {})}

    @classmethod
    def from_dict(cls, values: object) -> Trial:
        """The trial that :meth:`as_dict` wrote. Names that are not known are left out: a newer version wrote them.

        Raises BadParameter.
        """
        if not isinstance(values, Mapping):
            raise BadParameter(f"a trial is a map of names, not {brief(values)}")
        given = cast("Mapping[str, Any]", values)
        known = {each.name: given[each.name] for each in fields(cls) if each.name in given}
        try:
            _check(known)
            known["tags"] = tuple(known.get("tags", ()))
            known["stages_ms"] = {name: (p50, p99) for name, (p50, p99) in known.get("stages_ms", {}).items()}
            return cls(**known)
        except (TypeError, ValueError, AttributeError) as error:
            raise BadParameter(f"this is no trial: {brief(values)}: {error}") from None


def _check(values: Mapping[str, Any]) -> None:
    """Raises ValueError for what is of another kind than it should be."""
    for name in ("model", "outcome", "note", "recording", "was"):
        if not isinstance(values.get(name, ""), str):
            raise ValueError(f"{name} is no text")
    if type(values.get("start")) is not int:
        raise ValueError("start is no whole number")
    if not all(isinstance(tag, str) for tag in values.get("tags", ())):
        raise ValueError("tags are texts")
    numbers = [values.get(name) for name in ("score", "at", "seconds", "steps", "items", "items_total")]
    numbers += [number for pair in values.get("stages_ms", {}).values() for number in pair]
    numbers += list(values.get("rungs_s", {}).values())
    if not all(number is None or (isinstance(number, (int, float)) and number is not True) for number in numbers):
        raise ValueError("times, scores and counts are numbers")


def pairs(
    trials: Iterable[Trial], first: str, second: str, starts: Sequence[int] | None = None
) -> list[tuple[Trial, Trial]]:
    """What two models came to from the same starts; of repeated trials the last that counts.

    ``trials``: in the order in which they ended. ``starts``: the planned order, in which they are looked at, whatever
    was played first; the first start that is still to be played for one of the two ends the list. None: in the order
    in which pairs became complete.

    What is tested at every look must only ever grow at its end. So a start at which a trial ended by an error, while
    the evaluation went on with later ones, is not put back at its place when it is played again: it comes after all
    the others.
    """
    found: dict[int, dict[str, Trial]] = {}
    errors: Counter[int] = Counter()
    order = _Order(starts)
    for trial in trials:
        if trial.model in (first, second) and trial.outcome != "annulled":
            there = found.setdefault(trial.start, {})
            errors[trial.start] += not trial.counted
            if trial.counted or trial.model not in there:
                there[trial.model] = trial
            order.played(trial.start, found, errors)
    return [(found[start][first], found[start][second]) for start in order.complete]


class _Order:
    """In which order starts are looked at, as more and more of them are played."""

    def __init__(self, starts: Sequence[int] | None) -> None:
        self.complete: dict[int, None] = {}
        self._starts = starts
        self._places = {start: place for place, start in enumerate(starts or ())}
        self._next, self._farthest = 0, -1
        self._late: dict[int, int] = {}

    def played(self, start: int, found: Mapping[int, Mapping[str, Trial]], errors: Mapping[int, int]) -> None:
        """A trial from ``start`` ended. ``errors``: how many ended by an error, by their start."""
        if self._starts is None:
            if _is_complete(found[start]):
                self.complete.setdefault(start)
            return
        self._farthest = max(self._farthest, self._places.get(start, -1))
        while self._next < len(self._starts):
            this = self._starts[self._next]
            if _is_complete(found.get(this, {})):
                self.complete.setdefault(this)
            elif len(found.get(this, ())) == 2 and self._farthest > self._next:
                self._late[this] = errors[this]
            else:
                return
            self._next += 1
        for this, before in list(self._late.items()):
            if _is_complete(found[this]):
                self.complete.setdefault(this)
                del self._late[this]
            elif errors[this] > before:  # it failed again, and the others need not wait for it
                del self._late[this]
                self._late[this] = errors[this]
            else:
                return


def _is_complete(there: Mapping[str, Trial]) -> bool:
    return len(there) == 2 and all(each.counted for each in there.values())
