"""What was observed between two inferences, for models that are told of it (the handshake's ``history``)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from ..wire import CONTEXT


class Frames:
    """Keeps the newest observations that a model wants to see again, by the offsets that its handshake states.

    Offsets are seconds from the observation, below 0, the oldest first. What an episode has not lasted long enough for
    is its first observation (O-17).
    """

    def __init__(self, meta: Mapping[str, Any]) -> None:
        history: Mapping[str, Any] = meta.get("history") or {}
        takes: Sequence[str] = meta.get("context") or ()
        self._offsets: list[float] = list(history.get("offsets_sec") or []) if "history" in takes else []
        self._names: frozenset[str] = frozenset(history.get("observation") or ())
        #: So often a frame is kept: between the nearest two that are sent.
        self._every = min((after - before for before, after in pairwise([*self._offsets, 0.0])), default=float("inf"))
        self._kept: deque[tuple[float, dict[str, Any]]] = deque()

    def due(self, now: float) -> bool:
        """Whether an observation is to be kept now."""
        if not self._offsets or not self._kept:
            return False
        return now - self._kept[-1][0] >= self._every * (1 - 1e-3)

    def keep(self, observation: Mapping[str, Any], now: float) -> None:
        """Keep what was observed ``now``, as far as it is wanted."""
        if not self._offsets or (self._kept and now <= self._kept[-1][0]):
            return
        self._kept.append((now, {name: observation[name] for name in self._names if name in observation}))
        while len(self._kept) > 2 and self._kept[1][0] <= now + self._offsets[0]:
            self._kept.popleft()

    def told(self, now: float) -> dict[str, Any]:
        """What goes with an observation of ``now``: of each offset the frame that was taken nearest to it."""
        if not self._offsets:
            return {}
        frames = [min(self._kept, key=lambda kept: abs(kept[0] - now - offset))[1] for offset in self._offsets]
        return {CONTEXT["history"]: frames}

    def clear(self) -> None:
        """Forget them: another episode begins."""
        self._kept.clear()
