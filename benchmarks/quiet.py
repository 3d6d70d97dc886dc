"""Telling our own load from other processes', so that a disturbed measurement is taken again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from processes import Child, machine_busy_s

T = TypeVar("T")

#: Share of the machine that others may use while something is measured.
LIMIT = 0.15

#: The kernel's accounts advance in steps of 10 ms per processor; differences below this mean nothing.
_SLACK_S = 0.03


@dataclass
class Quiet:
    """Measures again what others disturbed, for at most ``budget_s`` seconds in the whole run."""

    budget_s: float
    repeated: int = 0

    def measure(self, children: Sequence[Child], take: Callable[[], T]) -> tuple[T, float]:
        """What ``take`` returns, and the share of the machine that others than ``children`` used meanwhile (0 to 1)."""
        while True:
            began, busy, ours = time.monotonic(), machine_busy_s(), _spent(children)
            result = take()
            wall = time.monotonic() - began
            foreign_s = machine_busy_s() - busy - (_spent(children) - ours) - _SLACK_S
            foreign = max(0.0, foreign_s) / (wall * (os.cpu_count() or 1))
            if foreign <= LIMIT or self.budget_s <= 0:
                return result, round(foreign, 3)
            pause = min(0.5, self.budget_s)
            time.sleep(pause)
            self.budget_s -= wall + pause
            self.repeated += 1


def _spent(children: Sequence[Child]) -> float:
    return sum(child.cpu_s() for child in children) + time.process_time()
