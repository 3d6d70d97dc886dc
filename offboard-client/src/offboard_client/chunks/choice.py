"""The strategies by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..errors import ConfigurationError, unknown
from .rtc import RealTimeChunking
from .strategies import Blend, ChunkStrategy, Ensemble, Latest, Prefetch, Sequential

#: Name → what makes one, given a threshold or None. Among them LeRobot's aggregators, with the weights that its
#: asynchronous inference has for them.
STRATEGIES: Mapping[str, Callable[[float | None], ChunkStrategy]] = {
    "sequential": Sequential,
    "prefetch": Prefetch,
    "latest": Latest,
    "blend": lambda threshold: Blend(None, threshold),
    "ensemble": Ensemble,
    "rtc": RealTimeChunking,
    "weighted_average": lambda threshold: Blend(0.7, threshold),
    "latest_only": Latest,
    "average": lambda threshold: Blend(0.5, threshold),
    "conservative": lambda threshold: Blend(0.3, threshold),
}


def choose_strategy(name: str, threshold: float | None = None) -> ChunkStrategy:
    """The strategy of this name. Raises ConfigurationError for another name, and for a threshold outside 0 to 1."""
    make = STRATEGIES.get(name)
    if make is None:
        raise ConfigurationError(unknown("chunk strategy", name, STRATEGIES))
    return make(threshold)
