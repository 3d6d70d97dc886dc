"""How fast a policy's actions are played, and until when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..chunks import TimedChunk, lay
from ..errors import ConfigurationError
from ..wire import Row
from .fit import action_rate


@dataclass(frozen=True)
class Pace:
    """``period``: seconds of one action as the policy means it. ``horizon_sec``: for how long after its observation an
    answer may be played, s; None: as long as it says. ``speed``: 0.5 takes twice the time for everything.
    """

    period: float
    horizon_sec: float | None
    speed: float

    def __post_init__(self) -> None:
        if self.horizon_sec is not None and not _within(self.horizon_sec, 3600):
            raise ConfigurationError(f"horizon_sec is {self.horizon_sec!r:.40}; expected seconds above 0, or None")
        if not _within(self.speed, 1):
            raise ConfigurationError(
                f"the speed is {self.speed!r:.40}; expected above 0 and at most 1, which is full speed"
            )

    @classmethod
    def of(cls, meta: Mapping[str, Any], horizon_sec: float | None, speed: float) -> Pace:
        """That of a handshake's ``meta``. Raises ConfigurationError where it states no rate."""
        return cls(1 / action_rate(meta), horizon_sec, speed)

    @property
    def played(self) -> float:
        """Seconds of one action as it is played."""
        return self.period / self.speed

    def lay(self, rows: Sequence[Row], observed: float) -> TimedChunk:
        """The rows of an answer to what was ``observed`` then. Raises InvalidAction."""
        return lay(rows, observed, self.period, self.horizon_sec, self.speed)


def _within(value: Any, most: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= most
