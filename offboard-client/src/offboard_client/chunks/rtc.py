"""Real-time chunking: the model is told what the arm will have played when its answer is there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ConfigurationError, InvalidAction
from ..wire import CONTEXT, columns
from .steps import TimedChunk
from .strategies import SAME, Latest


class RealTimeChunking(Latest):
    """The model is told what is not played yet and how late its answer will be, and goes on from there.

    Black et al. 2025 (*Real-Time Execution of Action Chunking Flow Policies*) and its form in training (*Training-Time
    Action Conditioning*). For the latter the handshake states ``max_delay_steps``: an answer that comes later than it
    was told is not gone on with, for the model knew less than was played.
    """

    needs = frozenset({"prefix", "delay_steps"})

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._hard: int | None = None
        self._promised: float | None = None
        self._known = self._untold = False

    def check(self, meta: Mapping[str, Any]) -> None:
        """Raises ConfigurationError for a model that is not told what was not played yet."""
        takes: Sequence[str] = meta.get("context") or ()
        if missing := sorted(self.needs - set(takes)):
            refused: Mapping[str, str] = meta.get("context_refused") or {}
            why = "; ".join(f"{name}: {refused[name]}" for name in missing if name in refused)
            raise ConfigurationError(
                f"real-time chunking needs a model that is told {' and '.join(missing)}, and this one takes "
                f"{', '.join(takes) or 'nothing'} beside the observation{f' ({why})' if why else ''}; "
                "take another strategy: prefetch, latest, blend"
            )
        self._hard = meta.get("max_delay_steps")

    def asks(self, now: float, lead: float | None) -> bool:
        """See :meth:`ChunkStrategy.asks`; at once as long as it is not known how late an answer will be."""
        return not self._known or super().asks(now, lead)

    def told(self, now: float, lead: float | None) -> dict[str, Any]:
        """What is not played yet, and how much of it will be when the answer is there."""
        left = [step for step in self.steps if step.due > now - step.period / 2]
        self._promised = None
        self._known = lead is not None
        self._untold = bool(left) and not self._known and not self._renewed
        if not left or lead is None or self._renewed:
            return {}
        period = left[0].period
        delay = min(math.ceil(lead / period - SAME), len(left))
        if self._hard is not None:
            delay = min(delay, self._hard)
            self._promised = now + delay * period
        rows = [{"action": step.action} for step in left]
        return {CONTEXT["prefix"]: columns(rows), CONTEXT["delay_steps"]: delay}

    def take(self, chunk: TimedChunk, now: float) -> str | None:
        """See :meth:`ChunkStrategy.take`. Raises InvalidAction for rows that no model could be told of again."""
        promised, self._promised = self._promised, None
        if len({_form(step.action) for step in chunk.steps}) > 1:
            raise InvalidAction(
                "the rows of the answer hold different names or shapes, and real-time chunking tells the model what is "
                "not played yet as one array for each name; take another strategy: prefetch, latest, blend"
            )
        moving = self.end > now + SAME
        if self._untold and moving and not self._renewed:
            # It was asked for to learn how late answers are, and does not agree with what is played meanwhile.
            return None
        if promised is not None and moving and now > promised + chunk.period / 4:
            return (
                f"the answer came {now - chunk.observed:.3g} s after its observation; the model was told "
                f"{promised - chunk.observed:.3g} s, the most that it can answer to"
            )
        return super().take(chunk, now)


def _form(action: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple((name, np.shape(value)) for name, value in sorted(action.items()))
