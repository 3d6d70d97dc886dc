"""When a batch is worth waiting for.

Taking whatever is queued (purely greedy batching) gets stuck: with 8 robots in a closed loop the first to
return is served alone, the other seven arrive meanwhile, and the pattern 1, 7, 1, 7 keeps itself up. So after
a batch the model thread waits for the sessions it has just served to come back, briefly: for each next one at most 2 ms
and at most a tenth of what the last inference took, and a quarter of it for all of them together, because the images of
eight robots take longer than 2 ms to arrive. A lone robot never waits.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

#: The longest wait for the next one, in seconds.
LONGEST_WAIT = 0.002
#: … and as a share of the last inference.
LONGEST_SHARE = 0.1
#: The longest wait for all of them together, as a share of the last inference.
LONGEST_IN_ALL = 0.25


class Gather:
    """Remembers who was in the last two batches, and says for how long to wait for them."""

    def __init__(self) -> None:
        self._last: frozenset[Hashable] = frozenset()
        self._before: frozenset[Hashable] = frozenset()
        self._patience = 0.0
        self._in_all = 0.0

    def served(self, sessions: Iterable[Hashable], seconds: float) -> None:
        """A batch of these sessions took ``seconds``."""
        self._before, self._last = self._last, frozenset(sessions)
        self._patience = min(LONGEST_WAIT, LONGEST_SHARE * seconds)
        self._in_all = LONGEST_IN_ALL * seconds

    def forget(self, session: Hashable) -> None:
        """This session is gone; nobody waits for it."""
        self._last -= {session}
        self._before -= {session}

    def missing(self, queued: Iterable[Hashable]) -> int:
        """How many of the sessions served lately are not queued."""
        return len((self._last | self._before).difference(queued))

    def patience(self, waited: float) -> float:
        """Seconds to wait for the next of the missing ones, after ``waited`` seconds for those before."""
        return min(self._patience, self._in_all - waited)
