"""The options of vla-eval's protocol, ``--vla-eval.NAME``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from offboard_client.wire import WireLimits

#: No answer has more steps (R-25 of the protocol).
_MOST_STEPS = WireLimits().chunk_steps
#: The benchmarks whose names and numbers are known.
Benchmark = Literal["libero"]


@dataclass(frozen=True, kw_only=True)
class VLAEvalOptions:
    """How vla-eval's benchmarks are understood."""

    codec: Benchmark | None = None
    """Which benchmark's names and actions are translated. null: names pass through as they are."""
    chunk_size: int | None = None
    """How many steps of an answer are played before the model is asked again. null: all of them."""

    def __post_init__(self) -> None:
        steps = self.chunk_size
        if steps is not None and not (type(steps) is int and 1 <= steps <= _MOST_STEPS):
            raise ValueError(f"chunk_size is {steps!r:.40}, expected a whole number from 1 to {_MOST_STEPS}")
