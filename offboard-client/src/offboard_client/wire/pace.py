"""How often a message that is like none before is worth learning: seldom, where what was learnt was of little use."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

#: What one session has learnt at most: with this camera and without it, and a number that has become longer.
MOST = 4
#: So many messages that fitted one repay what it cost to learn it, also where they are small. After one that was not
#: repaid, twice as many messages as before are let pass until the next is learnt, up to so many.
REPAID, LONGEST_PAUSE = 8, 4096
#: From this pause on only the last one is kept: to be compared with what nothing is like costs time with every message.
SELDOM = 16


class Pace:
    """Of one peer's messages."""

    def __init__(self) -> None:
        self._seen: deque[Hashable] = deque(maxlen=MOST)
        self._pause = self._rest = 0
        #: Messages that fitted what was learnt, since the last was; whoever sees one counts it.
        self.fitted = 0

    def learns(self, what: Hashable) -> bool:
        """Whether one is learnt now that fitted nothing; ``what`` tells it from others. What comes once never is."""
        if self._rest:
            self._rest -= 1
            return False
        if what not in self._seen:
            self._seen.append(what)
            return False
        self._rest = self._pause = 1 if self.fitted >= REPAID else min(max(1, 2 * self._pause), LONGEST_PAUSE)
        self.fitted = 0
        return True

    @property
    def others(self) -> int:
        """How many are kept beside the one that is learnt."""
        return (MOST if self._pause < SELDOM else 1) - 1
