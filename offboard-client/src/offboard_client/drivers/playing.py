"""How a policy is played on a robot, whatever drives it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..chunks import choose_strategy
from ..play import Pace, Patience, PolicySession, PolicyStream


@dataclass(frozen=True)
class Playing:
    """What is played of a policy's answers, and when."""

    chunks: str = "sequential"
    """How answers become one movement: sequential, prefetch, latest, blend, ensemble, rtc, or a LeRobot aggregator."""
    chunks_threshold: float | None = None
    """Ask when this share of a chunk is left, 0 to 1; each strategy has its own, and sequential none."""
    horizon_sec: float | None = None
    """Play nothing that is older than so many seconds; without it a chunk lasts as long as it is."""
    speed: float = 1.0
    """0.5 takes twice the time for everything; velocities scale with it, targets do not."""
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        choose_strategy(self.chunks, self.chunks_threshold)
        Pace(1.0, self.horizon_sec, self.speed)

    @contextmanager
    def stream(self, session: PolicySession, clock: Callable[[], float]) -> Generator[PolicyStream]:
        """A session's stream; in the end its thread ends, and the session stays as it is. Raises ConfigurationError."""
        strategy = choose_strategy(self.chunks, self.chunks_threshold)
        stream = PolicyStream(session, strategy, horizon_sec=self.horizon_sec, speed=self.speed, clock=clock)
        try:
            yield stream
        finally:
            stream.close(session=False)
