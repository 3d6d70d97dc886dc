"""Reports what a wait is for, and repeats the same only now and then."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from ..wire import Status

#: Seconds until something is said again: the first time, and at most.
_FIRST_S, _LONGEST_S = 10.0, 160.0
#: After so many seconds without a status another wait has begun.
_ANOTHER_S = 30.0
_NUMBERS = re.compile(r"\d+(\.\d+)?")


class Sparse:
    """Passes on at once what says something new, and what says the same, but for its numbers, at growing intervals."""

    def __init__(self, report: Callable[[Status], object], now: Callable[[], float] = time.monotonic) -> None:
        self._report, self._now = report, now
        self._said: tuple[str, str] | None = None
        self._heard = self._due = self._interval = 0.0

    def __call__(self, status: Status) -> None:
        """One status of a wait."""
        now = self._now()
        says = status.state, _NUMBERS.sub("", status.phase or status.message)
        again = says == self._said and now - self._heard < _ANOTHER_S
        self._said, self._heard = says, now
        if again and now < self._due:
            return
        self._interval = min(_LONGEST_S, 2 * self._interval) if again else _FIRST_S
        self._due = now + self._interval
        self._report(status)
