"""What an arm may be sent: the schedule of a chunk's rows, limits, the guard that checks them; and who watches it."""

from __future__ import annotations

from .bounded import Bounded, Loss, Shielded
from .guard import Guard
from .observer import Answer, EpisodeInfo, Outcome, Rung, RunObserver, Tick
from .policy import PolicySession
from .report import Episode, Report, percentiles
from .safety import SafetyLimits
from .schedule import MAX_PAUSE, Command, schedule

__all__ = [
    "MAX_PAUSE",
    "Answer",
    "Bounded",
    "Command",
    "Episode",
    "EpisodeInfo",
    "Guard",
    "Loss",
    "Outcome",
    "PolicySession",
    "Report",
    "RunObserver",
    "Rung",
    "SafetyLimits",
    "Shielded",
    "Tick",
    "percentiles",
    "schedule",
]
