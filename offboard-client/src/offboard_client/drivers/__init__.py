"""Loops that play a policy on a robot: observe, ask for a chunk, check it, apply it in the robot's time."""

from __future__ import annotations

from .timed import RunLength, TimedDriver

__all__ = [
    "RunLength",
    "TimedDriver",
]
