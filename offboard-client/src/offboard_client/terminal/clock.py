"""How far a long work over many things is, and how long the rest may take."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from .line import Line


class Clock:
    """The line of a long work: which of ``names``, which share of all their ``sizes``, how long the rest may take."""

    def __init__(self, line: Line, names: Sequence[str], sizes: Sequence[float]) -> None:
        self._line, self._names, self._sizes = line, names, sizes
        self._total, self._began, self._skipped = max(sum(sizes), 1.0), monotonic(), 0.0

    def skip(self, number: int) -> None:
        """It was there already, and takes no time."""
        self._skipped += self._sizes[number]

    def show(self, number: int, share: float) -> None:
        """``share``: of number ``number``, counted from 0."""
        done = sum(self._sizes[:number]) + share * self._sizes[number]
        amount = f"{number + 1} of {len(self._names)}{self._left(done)}"
        self._line.show(self._names[number], done, self._total, amount)

    def _left(self, done: float) -> str:
        passed = monotonic() - self._began
        share = (done - self._skipped) / max(self._total - self._skipped, 1)
        if share < 0.01 or passed < 1.0:
            return ""
        seconds = passed * (1 - share) / share
        return f", about {seconds:.0f} s left" if seconds < 90 else f", about {seconds / 60:.0f} min left"
