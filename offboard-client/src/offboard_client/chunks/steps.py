"""The steps of a chunk on the robot's own clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..wire import Row
from .times import due_times


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What is played from ``due`` until ``until``, in seconds of the robot's clock.

    ``action``: name → vector. ``row``: which row of its chunk it is. ``observed``: when the observation was taken that
    it was made from.
    """

    due: float
    until: float
    action: Mapping[str, Any]
    row: int
    observed: float
    expires: float

    @property
    def period(self) -> float:
        """How long it is played, in seconds."""
        return self.until - self.due

    def moved(self, seconds: float) -> Step:
        """The same so much later."""
        return replace(self, due=self.due + seconds, until=self.until + seconds)


@dataclass(frozen=True, slots=True, eq=False)
class TimedChunk:
    """An answer of a policy: its steps by their timestamps, counted from the observation that it answers.

    ``period``: seconds of one action. ``expires``: from when on nothing of it may be begun.
    """

    steps: tuple[Step, ...]
    observed: float
    period: float
    expires: float

    @property
    def length(self) -> float:
        """From the observation to the end of the last step, in seconds."""
        return self.steps[-1].until - self.steps[0].observed

    def moved(self, seconds: float) -> TimedChunk:
        """The same so much later, as if it had been observed then; it does not expire later."""
        steps = tuple(step.moved(seconds) for step in self.steps)
        return replace(self, steps=steps, observed=self.observed + seconds)


def lay(rows: Sequence[Row], observed: float, period: float, horizon: float | None, speed: float = 1.0) -> TimedChunk:
    """The rows of an answer on the robot's clock.

    ``observed``: when the observation was taken. ``period``: seconds of one action at full speed. ``horizon``: seconds
    from the observation after which none of its rows is played, at full speed; None: as long as the chunk is.
    ``speed``: 0.5 takes twice the time for everything. Raises InvalidAction for rows whose timestamps nobody can play.
    """
    due = [at / speed for at in due_times(rows, period)]
    period /= speed
    until = [min(begin + period, after) for begin, after in zip(due, [*due[1:], float("inf")], strict=True)]
    expires = observed + (until[-1] if horizon is None else horizon / speed)
    steps = tuple(
        Step(observed + begin, observed + end, row["action"], number, observed, expires)
        for number, (row, begin, end) in enumerate(zip(rows, due, until, strict=True))
    )
    return TimedChunk(steps, observed, period, expires)
