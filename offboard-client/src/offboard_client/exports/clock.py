"""An episode's messages by the robot's clock, which stands while a simulation waits for its policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..errors import RecordingFailed
from ..recording import Episode, Said

#: What says both times, the wall's and the robot's.
_KNOTS = ("/observed", "/played")
#: No episode is longer, in seconds.
_LONGEST = 1e9


def by_robots_clock(episode: Episode, topics: Iterable[str], end: int | None = None) -> Iterator[tuple[float, Said]]:
    """The messages of these topics, and all observations and commands, each with its seconds of the episode.

    Seconds never go back. ``end``: nanoseconds since 1970; what comes then is not read. Raises RecordingFailed.
    """
    waiting = list[Said]()
    wall, seconds = 0, -1.0
    for said in episode.messages([*topics, *_KNOTS], end=end):
        waiting.append(said)
        if said.topic not in _KNOTS:
            continue
        if not abs(now := float(said.message.seconds)) < _LONGEST:
            raise RecordingFailed(f"{episode.path.name} is damaged: {said.topic} is of second {now:g} of the episode")
        known = max(seconds, now)
        for each in waiting:
            yield _between(each.at, (wall, seconds), (said.at, known)), each
        waiting.clear()
        wall, seconds = said.at, known
    for each in waiting:
        yield max(seconds, 0.0), each


def _between(at: int, before: tuple[int, float], after: tuple[int, float]) -> float:
    """``at`` as seconds, of two times that are known in both clocks."""
    (low, since), (high, until) = before, after
    if since < 0 or at >= high:  # nothing was known before
        return until
    if at <= low:
        return since
    return since + (until - since) * (at - low) / (high - low)
