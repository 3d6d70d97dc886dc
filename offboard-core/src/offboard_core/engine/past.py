"""What a session's robot observed a moment ago, for a model that looks back and a robot that does not tell it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..types import Array, Observation, is_array

#: Where the robot's own clock stands in an observation, in ns.
_OBSERVED = "obs_time"
#: So many moments are kept of the time that a model looks back, however often it is asked.
_MOMENTS = 32


class Past:
    """The moments of one episode, by the robot's own clock where its observations have one, else by when they came.

    ``offsets``: seconds from an observation to the moments that are wanted, below 0, oldest first. ``names``: what is
    kept of each; the rest stays as it is from moment to moment.
    """

    def __init__(self, offsets: Sequence[float], names: Collection[str]) -> None:
        self._offsets, self._names = offsets, names
        self._own_clock = False
        self._kept: list[tuple[float, Mapping[str, Any]]] = []

    def before(self, observation: Observation, arrived: float) -> list[Observation]:
        """What was observed nearest to each moment, and keep this observation, which came at ``arrived`` (s).

        This observation may be the nearest itself: it is in the beginning of an episode, as O-17 has it, and after a
        pause. So what is told is never farther from its moment than that is from now.
        """
        own: Any = observation.get(_OBSERVED)
        is_own = type(own) is int and 0 <= own < 2**63
        now = own / 1e9 if is_own else arrived
        if is_own is not self._own_clock or (self._kept and now < self._kept[-1][0]):
            self._kept.clear()  # times on two clocks say nothing of each other
            self._own_clock = is_own
        present = {name: observation[name] for name in self._names if name in observation}
        known = [*self._kept, (now, present)]
        moments = [min(known, key=lambda each: abs(each[0] - now - offset))[1] for offset in self._offsets]
        oldest = self._offsets[0]
        if not self._kept or now - self._kept[-1][0] >= -oldest / _MOMENTS:
            self._kept.append((now, {name: _own(value) for name, value in present.items()}))
        while len(self._kept) > 1 and self._kept[1][0] <= now + oldest:
            self._kept.pop(0)
        return [{**observation, **{n: value for n, value in each.items() if n in present}} for each in moments]

    def forget(self) -> None:
        """A new episode begins."""
        self._kept.clear()


def _own(value: Any) -> Any:
    """A robot in this process may write into its arrays again."""
    if not is_array(value):
        return value
    copy: Array = value.copy()
    copy.flags.writeable = False
    return copy
