"""The queue of a model, and how long a batch waits for more observations.

Taking whatever is queued (purely greedy batching) gets stuck: with 8 robots in a closed loop the first to
return is served alone, the other seven arrive meanwhile, and the pattern 1, 7, 1, 7 keeps itself up. So after
a batch the model thread waits for the sessions it has just served to come back, briefly: for each next one at most 2 ms
and at most a tenth of what the last inference took, and a quarter of it for all of them together, because the images of
eight robots take longer than 2 ms to arrive. A lone robot never waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from queue import Empty, SimpleQueue
from time import perf_counter

from .calls import Call
from .exchange import Exchange

#: The longest wait for the next one, in seconds.
LONGEST_WAIT = 0.002
#: … and as a share of the last inference.
LONGEST_SHARE = 0.1
#: The longest wait for all of them together, as a share of the last inference.
LONGEST_IN_ALL = 0.25


class BatchWindow:
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


class Work:
    """What waits for the model thread: calls and exchanges in the order in which they came, None for its end.

    :attr:`put` is for any thread, all else for the model's.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Call | Exchange | None] = SimpleQueue()
        self._held: deque[Call | Exchange | None] = deque()
        self.window = BatchWindow()
        self.put = self._queue.put

    def __bool__(self) -> bool:
        return bool(self._held) or not self._queue.empty()

    def next(self) -> Call | Exchange | None:
        """What is to be done next; waits for it."""
        return self._held.popleft() if self._held else self._queue.get()

    def hold(self, exchanges: list[Exchange]) -> None:
        """Put back what was taken and is to come next."""
        self._held.extendleft(reversed(exchanges))

    def beside(self, first: Exchange, most: int) -> list[Exchange]:
        """``first`` and up to ``most - 1`` others, waiting briefly for those that were served lately."""
        waiting = [first, *self._take(most - 1)]
        began = perf_counter()
        while (missing := self.window.missing(id(e.pipeline) for e in waiting)) and len(waiting) < most:
            more = self._take(min(missing, most - len(waiting)), self.window.patience(perf_counter() - began))
            if not more:
                break
            waiting += more
        return waiting

    def _take(self, most: int, timeout: float | None = None) -> list[Exchange]:
        """Up to ``most`` queued exchanges, stopping before the first call. With a timeout, waits for at least one."""
        taken: list[Exchange] = []
        while len(taken) < most:
            if self._held:
                item = self._held.popleft()
            else:
                try:
                    wait = timeout is not None and timeout > 0
                    item = self._queue.get(timeout=timeout) if wait else self._queue.get_nowait()
                except Empty:
                    break
            timeout = None
            if not isinstance(item, Exchange):
                self._held.appendleft(item)
                break
            taken.append(item)
        return taken
