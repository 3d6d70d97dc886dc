"""What an arm may be sent: limits per second, the schedule of a chunk's rows, the guard that checks them as played."""

from __future__ import annotations

from .guard import Guard
from .policy import PolicySession
from .report import Episode, Report, percentiles
from .safety import SafetyLimits
from .schedule import MAX_PAUSE, Command, schedule

__all__ = [
    "MAX_PAUSE",
    "Command",
    "Episode",
    "Guard",
    "PolicySession",
    "Report",
    "SafetyLimits",
    "percentiles",
    "schedule",
]
