"""Loops that play a policy on a robot: observe, ask for a chunk, check it, apply it in the robot's time."""

from __future__ import annotations

from .attention import Attention
from .freshness import Freshness
from .player import Player
from .playing import Playing
from .telling import Audience
from .timed import RunLength, TimedDriver

__all__ = [
    "Attention",
    "Audience",
    "Freshness",
    "Player",
    "Playing",
    "RunLength",
    "TimedDriver",
]
