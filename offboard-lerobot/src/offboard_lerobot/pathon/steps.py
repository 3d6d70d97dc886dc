"""What is left of a model's answer for a robot that asks for one step at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from offboard_core.types import Array


class Steps:
    """The steps of one answer, in order, each with a time after which it is not played any more.

    PathOn-AI's own server hands them out whenever they are asked for: a robot that was stopped for a minute and goes on
    plays what was right a minute ago. Here they belong to their time. Step *i* is due so long after the answer as
    its row says, and is not given later than ``stale_after`` s after that, nor so long after it would have followed the
    last one in time: a robot that plays faster is ahead of what is due, and may stop there. Where the rows have no
    times each may follow at once. Then nothing is left of the answer, and the model is asked again.
    """

    def __init__(self, stale_after: float) -> None:
        self._stale_after = stale_after
        self._left: deque[tuple[Array, float | None]] = deque()
        self._given = self._due = self.observed = 0.0

    def __len__(self) -> int:
        return len(self._left)

    def fill(self, steps: Sequence[Array], times: Sequence[float] | None, observed: float, now: float) -> Array:
        """Take an answer, at least a step, to what was observed at ``observed``; its first step, which is played now.

        ``times``: of the rows, in s.
        """
        self.observed = observed
        due: Sequence[float | None] = [None] * len(steps) if times is None else [now + at - times[0] for at in times]
        self._left = deque(zip(steps, due, strict=True))
        self._given = self._due = now
        return self._left.popleft()[0]

    def next(self, now: float) -> Array | None:
        """The next step; None where there is none any more."""
        if not self._left:
            return None
        step, due = self._left.popleft()
        latest = self._given if due is None else min(due, self._given + due - self._due)
        if now > latest + self._stale_after:
            self.forget()
            return None
        self._given, self._due = now, self._due if due is None else due
        return step

    def forget(self) -> None:
        """Play nothing more of it."""
        self._left.clear()
