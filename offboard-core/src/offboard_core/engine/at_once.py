"""Exchanges answered on the event loop, for a policy and a codec that say that they never block, while that holds.

Nothing is guessed: who says nothing is asked on the model's own thread. And nothing is believed for ever: what takes
longer than was said keeps every robot of the server waiting, so it is told, and in the end not done any more. The clock
alone cannot tell who was to blame, a policy that waited or a machine that had other things to do. So once one was late
the system is asked what the thread did in the next; and whoever keeps the promise on its own thread is believed again.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Sequence
from time import perf_counter
from typing import Any

try:
    import resource
except ImportError:  # not every system has it
    resource = None

from offboard_client.errors import OffboardError

from ..types import Policy
from .calls import infer, too_late
from .exchange import Exchange

log = logging.getLogger(__name__)

#: What an exchange of a policy that does not block may take, translations included, in seconds.
NO_TIME = 0.001
#: So many in a row that took longer, and the policy is asked on its own thread from then on …
TOO_MANY = 3
#: … and after one that took so long (s), at once.
TOO_LONG = 0.1
#: Until so many in a row have taken no longer there; ten times as many after each further time, up to these.
REGAINED, AT_MOST = 100, 100_000
#: The log is told of the others once in so many seconds.
TELL_EVERY = 60.0
#: After so long in one call (s) the log says so while it lasts: nothing else of the server can.
HANGS = 1.0


class Promise:
    """Whether one policy keeps its promise. On the event loop, but for :meth:`stop`.

    ``limit``: seconds after which an exchange is answered with a timeout, and with nothing else.
    """

    def __init__(self, label: str, limit: float = math.inf) -> None:
        #: Held by whoever is in a call of the policy, its thread or the event loop.
        self.turn = threading.Lock()
        self._label, self._limit = label, limit
        self._warm = self._codec_told = False
        self._late, self._told = 0, -math.inf
        # How many in a row have to be kept before it is believed again, and how many of them still.
        self._price, self._owed = REGAINED // 10, 0
        self._since: float | None = None
        self._end = threading.Event()
        self._watcher: threading.Thread | None = None

    def holds(self, policy: Policy[Any] | None, exchange: Exchange) -> bool:
        """Whether this exchange may be tried on the loop: both have promised, and have kept it of late.

        Never the model's first: what is imported and filled at its first use takes time once.
        """
        if policy is None or policy.blocking or self._owed:
            return False
        if exchange.pipeline.codec.codec.blocking:
            self._tell_of(exchange.pipeline.codec.name)
            return False
        warm, self._warm = self._warm, True
        return warm

    def _tell_of(self, codec: str) -> None:
        if not self._codec_told:
            self._codec_told = True
            log.info(
                "%s says that it does not block, which its codec %s does not say of itself: it is asked on a thread of "
                "its own, as others are", self._label, codec,
            )  # fmt: skip

    def answer(self, policy: Policy[Any] | None, exchange: Exchange) -> bool:
        """Answer it. False where the policy is in a call, or this one would take time; nothing is done then.

        Nor is anything for one that was to be tried, and whose policy is not believed since, but for what is too late.
        """
        if policy is None or (self._owed and not self._overdue(exchange)) or not self.turn.acquire(blocking=False):
            return False
        try:
            return self._answer(policy, exchange)
        finally:
            self.turn.release()

    def _answer(self, policy: Policy[Any], exchange: Exchange) -> bool:
        self._watch()
        before = _spent() if self._late else None  # not of each: it is one more system call
        self._since = start = perf_counter()
        try:
            if not exchange.prepare(at_once=True):
                if exchange.error is None:
                    return False
                exchange.finish(exchange.error)
                return True
            if exchange.late() or self._overdue(exchange):
                assert exchange.error is not None
                exchange.finish(exchange.error)
                return True
            began = exchange.started = perf_counter()
            exchange.queue_ms = max(0.0, (began - exchange.arrived) * 1e3 - exchange.prepare_ms)
            result = infer(policy, [exchange])[0]
            exchange.infer_ms = (perf_counter() - began) * 1e3
            # Nobody could give it up meanwhile, and a robot must not be sent an action for what it saw so long ago.
            if not isinstance(result, OffboardError) and self._overdue(exchange):
                result = exchange.error
            exchange.finish(result)
            return True
        finally:
            self._since = None
            took = perf_counter() - start
            if not (before is not None and NO_TIME < took <= TOO_LONG and _was_kept_from_it(before)):
                self._judge(took, asked=exchange.started > 0)

    def _overdue(self, exchange: Exchange) -> bool:
        """Is it older than the limit? Sets the error if so."""
        waited = perf_counter() - exchange.submitted
        if waited <= self._limit:
            return False
        exchange.error = too_late(self._limit, f"the event loop, on which it is asked, was held up for {waited:.1f} s")
        return True

    def answered_elsewhere(self, batch: Sequence[Exchange]) -> None:
        """On its own thread, in its turn: that counts for a policy that is not believed any more."""
        if not self._owed:
            return
        for exchange in batch:
            kept = exchange.decode_ms + exchange.codec_ms + exchange.infer_ms <= NO_TIME * 1e3
            self._owed = max(0, self._owed - 1) if kept else self._price
        if not self._owed:
            self._late = 0
            log.info(
                "%s took no more than %g ms for %d observations in a row: it is asked on the event loop again",
                self._label, NO_TIME * 1e3, self._price,
            )  # fmt: skip

    def stop(self) -> None:
        """Nothing is asked any more. For any thread."""
        self._end.set()

    def _judge(self, took: float, *, asked: bool) -> None:
        if took <= NO_TIME:
            if asked:  # what was refused before it came to the policy says nothing of it
                self._late = 0
            return
        self._late += 1
        if broken := self._late >= TOO_MANY or took > TOO_LONG:
            self._owed = self._price = min(10 * self._price, AT_MOST)
        now = perf_counter()
        if broken or now - self._told > TELL_EVERY:
            self._told = now
            log.warning(
                "%s says that it does not block, and took %.1f ms for an observation, in which nobody else "
                "was answered: %s",
                self._label, took * 1e3,
                "it is asked on a thread of its own, as others are, until it has taken no more than "
                f"{NO_TIME * 1e3:g} ms for {self._price} in a row there. Where it was the policy or its codec, and "
                "not a machine with too much to do, leave out blocking = False"
                if broken else f"up to {NO_TIME * 1e3:g} ms are expected",
            )  # fmt: skip

    def _watch(self) -> None:
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._look, name=f"offboard-watch-{self._label}", daemon=True)
            self._watcher.start()

    def _look(self) -> None:
        told: float | None = None
        while not self._end.wait(HANGS):
            since = self._since
            if since is not None and since != told and (seconds := perf_counter() - since) > HANGS:
                told = since
                log.error(
                    "%s says that it does not block, and has not returned for %.0f s; until it does, this server "
                    "answers nobody. Leave out blocking = False", self._label, seconds,
                )  # fmt: skip


def _spent() -> tuple[float, int] | None:
    """Of this thread the processor's time in seconds, and how often it waited; None where the system does not say."""
    if resource is None or not hasattr(resource, "RUSAGE_THREAD"):
        return None
    found = resource.getrusage(resource.RUSAGE_THREAD)
    return found.ru_utime + found.ru_stime, found.ru_nvcsw


def _was_kept_from_it(before: tuple[float, int]) -> bool:
    """Whether this thread neither waited since nor took long: then others had the processor."""
    now = _spent()
    return now is not None and now[1] == before[1] and now[0] - before[0] <= NO_TIME
