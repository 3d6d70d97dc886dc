"""The queue of a model, and how long a batch waits for more observations.

Taking whatever is queued (purely greedy batching) gets stuck: with 8 robots in a closed loop the first to
return is served alone, the other seven arrive meanwhile, and the pattern 1, 7, 1, 7 keeps itself up. So the model
thread waits for those that come back at once when they are answered, and for nobody else: a robot that asks ten times a
second is answered sooner without. Who comes back is learnt, of each session: no wait begins on a guess.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from queue import Empty, SimpleQueue
from time import perf_counter

from .calls import Call
from .exchange import Exchange

#: Who is back sooner than in this share of an inference is waited for …
SOON = 0.5
#: … but for all of them together no longer than this share of one.
LONGEST_IN_ALL = 0.25
#: Who has not come after so many times what it usually takes, and so many seconds more, is not waited for any longer.
OVERDUE_TIMES, OVERDUE_S = 1.5, 0.0005
#: So many of the last times say what is usual: one that is odd changes nothing.
REMEMBERED = 5


class _Usual:
    """What something takes as a rule: the median of the last few times; of an even number the longer one."""

    __slots__ = ("_last", "value")

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=REMEMBERED)
        self.value: float | None = None

    def add(self, seconds: float) -> None:
        self._last.append(seconds)
        self.value = sorted(self._last)[len(self._last) // 2]


class _Turn:
    """One session's: when it was answered, unless it has come since, and what it takes to come again (s)."""

    __slots__ = ("answered", "usual")

    def __init__(self) -> None:
        self.answered: float | None = None
        self.usual = _Usual()


class BatchWindow:
    """Learns how soon each session asks again after its answer, and says until when to wait for those that do at once.

    Times are those of ``perf_counter``. A session of which nothing is known yet, because it has not come a second time,
    is not waited for.
    """

    def __init__(self) -> None:
        self._turns: dict[Hashable, _Turn] = {}
        self._inference = _Usual()

    def came(self, session: Hashable, at: float) -> None:
        """This session's next observation was there at ``at``."""
        turn = self._turns.get(session)
        if turn is not None and turn.answered is not None:
            turn.usual.add(max(0.0, at - turn.answered))
            turn.answered = None

    def served(self, sessions: Iterable[Hashable], seconds: float, at: float) -> None:
        """A batch of these sessions took ``seconds``, and is answered at ``at``."""
        self._inference.add(seconds)
        for session in sessions:
            turn = self._turns.get(session)
            if turn is None:
                turn = self._turns[session] = _Turn()
            turn.answered = at

    def forget(self, session: Hashable) -> None:
        """This session is gone; nobody waits for it."""
        self._turns.pop(session, None)

    def until(self, began: float, now: float) -> float | None:
        """Until when to wait for whoever comes next, having waited since ``began``; None if nobody is expected."""
        if self._inference.value is None:
            return None
        soon = SOON * self._inference.value
        latest = now
        for turn in self._turns.values():
            usual, answered = turn.usual.value, turn.answered
            if answered is not None and usual is not None and usual < soon:
                latest = max(latest, answered + OVERDUE_TIMES * usual + OVERDUE_S)
        latest = min(latest, began + LONGEST_IN_ALL * self._inference.value)
        return latest if latest > now else None


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
        """``first`` and up to ``most - 1`` others, waiting briefly for those that come back at once."""
        self._came(first)
        waiting = [first, *self._take(most - 1)]
        began = now = perf_counter()
        while len(waiting) < most and (until := self.window.until(began, now)) is not None:
            more = self._take(most - len(waiting), until - now)
            if not more:
                break
            waiting += more
            now = perf_counter()
        return waiting

    def _came(self, exchange: Exchange) -> None:
        # There, for those who wait, is what has been translated.
        self.window.came(id(exchange.pipeline), exchange.arrived + exchange.prepare_ms / 1e3)

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
            self._came(item)
            taken.append(item)
        return taken
