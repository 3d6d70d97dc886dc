"""What plays a policy on a robot."""

from __future__ import annotations

from .timed import RunLength, TimedDriver

__all__ = [
    "RunLength",
    "TimedDriver",
]
