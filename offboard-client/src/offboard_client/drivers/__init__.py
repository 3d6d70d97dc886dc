"""Loops that play a policy on a robot: observe, ask for a chunk, check it, apply it in the robot's time."""

from __future__ import annotations

from .freshness import Freshness
from .playing import Playing
from .timed import RunLength, TimedDriver

__all__ = [
    "Freshness",
    "Playing",
    "RunLength",
    "TimedDriver",
]
