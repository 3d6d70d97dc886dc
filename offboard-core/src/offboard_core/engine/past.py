"""What a session's robot observed a moment ago, for a model that looks back and a robot that does not tell it."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast

from ..types import Array, Observation, is_array

#: Where the robot's own clock stands in an observation, in ns.
_OBSERVED = "obs_time"
#: So many moments are kept of the time that a model looks back, however often it is asked …
_MOMENTS = 32
#: … and so many bytes of them: large images are kept less often, evenly over that time.
_BYTES = 64 * 2**20
#: Of so many observations it is known when they were made, of which no more may be kept.
_TIMES = 4096


class _Moment(NamedTuple):
    """``at``: by the clock that counts, in s. ``size``: its bytes."""

    at: float
    inputs: Mapping[str, Any]
    size: int


class Past:
    """The moments of one episode, by the robot's own clock where its observations have one, else by when they came.

    Kept are a model's inputs, which are smaller than what a robot sends where the codec makes its images smaller.
    ``offsets``: seconds from an observation to the moments that are wanted, below 0, oldest first. ``names``: of an
    observation, what is of its moment; the rest stays as it is from moment to moment.
    """

    def __init__(self, offsets: Sequence[float], names: Collection[str]) -> None:
        self._offsets, self._names = offsets, names
        self._own_clock = False
        self._kept: list[_Moment] = []
        #: The last one, where it is none of those: what is wanted of just now would lie between two of them.
        self._newest: _Moment | None = None
        self._began = 0.0
        self._times: deque[float] = deque(maxlen=_TIMES)
        self.amiss: tuple[float, float] | None = None
        """Of the last offsets one near which nothing was observed, and how far from it is what was told (s):
        more than half as far as that moment is from now, and the episode had begun by then. What was observed near it
        and not kept is not the robot's fault."""

    def before(self, observation: Observation, inputs: Mapping[str, Any], arrived: float) -> list[dict[str, Any]]:
        """The inputs of what was observed nearest to each moment, and keep ``inputs``, of what came at ``arrived`` (s).

        ``inputs``: what a codec made of ``observation``. That may be the nearest itself: it is in the beginning of an
        episode, as O-17 has it, and after a pause. So what is told is never farther from its moment than that is from
        now. A text is the present's.
        """
        own: Any = observation.get(_OBSERVED)
        is_own = type(own) is int and 0 <= own < 2**63
        now = own / 1e9 if is_own else arrived
        before = [*self._kept, *([] if self._newest is None else [self._newest])]
        if is_own is not self._own_clock or (before and now < before[-1].at):
            self.forget()  # times on two clocks say nothing of each other
            before, self._own_clock = [], is_own
        # What passes through a codec under a name that nobody declared is no part of a history.
        changing = {
            name: value
            for name, value in inputs.items()
            if not isinstance(value, str) and (name in self._names or name not in observation)
        }
        present = _Moment(now, changing, _size(changing))
        known = [*before, present]
        moments = [min(known, key=lambda each: abs(each.at - now - offset)) for offset in self._offsets]
        self._began = self._began if self._kept else now
        far = {at: abs(each.at - now - at) for each, at in zip(moments, self._offsets, strict=True)}
        if not self._kept:
            self._times.clear()
        self._times.append(now)
        self.amiss = next(
            (
                (at, d)
                for at, d in far.items()
                if d > -at / 2 and self._began <= now + at and self._unseen(now + at, -at)
            ),
            None,
        )
        oldest = self._offsets[0]
        most = max(1, min(_MOMENTS, _BYTES // max(1, *(each.size for each in known)) - 1))
        apart, self._newest = -oldest / most, None
        if not self._kept or now - self._kept[-1].at >= apart:
            self._kept.append(present._replace(inputs=_own(changing, arrays=True)))
        elif -self._offsets[-1] < 2 * apart and sum(each.size for each in self._kept) + present.size <= _BYTES:
            self._newest = present._replace(inputs=_own(changing, arrays=True))
        while len(self._kept) > 1 and self._kept[1].at <= now + oldest:
            self._kept.pop(0)
        told = [{**inputs, **{n: each.inputs[n] for n in changing if n in each.inputs}} for each in moments]
        return [_own(each, arrays=False) for each in told]

    def _unseen(self, moment: float, ago: float) -> bool:
        """Whether the robot observed nothing within half of ``ago`` of that moment, as far back as that is known."""
        return self._times[0] <= moment and all(abs(at - moment) > ago / 2 for at in self._times)

    def forget(self) -> None:
        """A new episode begins, or a codec's options are others."""
        self._kept.clear()
        self._newest = None


def _size(value: Any) -> int:
    if is_array(value):
        return value.nbytes
    if isinstance(value, dict):
        return sum(map(_size, cast("dict[Any, Any]", value).values()))
    return sum(map(_size, cast("list[Any]", value))) if isinstance(value, list) else 0


def _own(value: Any, *, arrays: bool) -> Any:
    """Lists and maps made anew, for a policy may write into them. ``arrays``: these, too.

    A robot in this process may write into its own again; and one that is a part of a message would keep all of it.
    """
    if isinstance(value, list):
        return [_own(item, arrays=arrays) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {name: _own(item, arrays=arrays) for name, item in cast("dict[Any, Any]", value).items()}
    if not arrays or not is_array(value):
        return value
    copy: Array = value.copy()
    copy.flags.writeable = False
    return copy
