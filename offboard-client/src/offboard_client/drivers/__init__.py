"""What plays a policy on a robot."""

from __future__ import annotations

from .timed import TimedDriver, Timing

__all__ = [
    "TimedDriver",
    "Timing",
]
