"""Chunk strategies: pure objects that make one stream of steps of a policy's answers, and are told the time."""

from __future__ import annotations

from .choice import STRATEGIES, choose_strategy
from .mix import mixed
from .round_trips import RoundTrips
from .rtc import RealTimeChunking
from .steps import Step, TimedChunk, lay
from .strategies import (
    Blend,
    ChunkStrategy,
    Ensemble,
    Latest,
    Prefetch,
    Sequential,
)
from .times import MAX_PAUSE, due_times

__all__ = [
    "MAX_PAUSE",
    "STRATEGIES",
    "Blend",
    "ChunkStrategy",
    "Ensemble",
    "Latest",
    "Prefetch",
    "RealTimeChunking",
    "RoundTrips",
    "Sequential",
    "Step",
    "TimedChunk",
    "choose_strategy",
    "due_times",
    "lay",
    "mixed",
]
