"""The deadline of a call, and whether the peer that it waits for still lives."""

from __future__ import annotations

import math
from collections.abc import Callable

#: How much of the silence that is too long passes between two pings.
_BEATS = 4
#: What a network is trusted to carry, in bytes per second: no answer is due while an observation may be under way.
_SLOWEST = 2**17


class Passed(TimeoutError):
    """The deadline of a call has passed, whatever its peer is doing."""


class Deadline:
    """The end of one call: every wait in it asks how long it still may take. Times in seconds."""

    __slots__ = ("_now", "end")

    def __init__(self, now: Callable[[], float], seconds: float) -> None:
        self._now, self.end = now, now() + seconds

    def rest(self) -> float:
        """What is left; 0 or less where nothing is."""
        return self.end - self._now()

    def left(self, most: float = math.inf) -> float:
        """What is left, at most ``most``. Raises Passed where nothing is."""
        rest = self.end - self._now()
        if rest <= 0:
            raise Passed
        return rest if rest < most else most

    def within(self, seconds: float) -> Deadline:
        """The end of a part of the call that may take so long, if the call itself does not end before."""
        return Deadline(self._now, min(seconds, self.rest()))


class Pulse:
    """Whether a peer that owes an answer lives. It is pinged while it says nothing; any byte is a sign of life.

    ``silence``: seconds without one that are too many; infinite for a peer that may not be able to answer pings.
    """

    def __init__(self, now: Callable[[], float], silence: float) -> None:
        self._now, self.silence = now, silence
        self._heard = 0.0
        #: When something has to be done.
        self.due = 0.0

    def begin(self, size: int) -> None:
        """Something of ``size`` bytes is sent that has to be answered."""
        self._heard = self._now() + size / _SLOWEST
        self.due = self._heard + self.silence / _BEATS

    def heard(self) -> None:
        """Something was received."""
        now = self._now()
        if now > self._heard:
            self._heard = now
        self.due = self._heard + self.silence / _BEATS

    def wait(self) -> float:
        """Seconds until something has to be done; 0 or less if it has to be done now."""
        return self.due - self._now()

    def silent(self) -> bool:
        """Whether nothing was received for too long. Where it was not, the next ping is due a beat later.

        Time in which nobody looked, as of a process that was stopped, is no silence: no ping went out in it.
        """
        now, beat = self._now(), self.silence / _BEATS
        if now - self.due > beat:
            self._heard += now - self.due
        self.due = min(now + beat, self._heard + self.silence)
        return now >= self._heard + self.silence
