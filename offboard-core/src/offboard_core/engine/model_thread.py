"""The one thread that calls a model.

torch.compile, CUDA graphs and thread-local CUDA state want every call from the same thread; that thread is at the
same time the mutual exclusion and, being a first-in-first-out queue, the fairness between robots.

A hop to this thread and back is a ``SimpleQueue.put`` and a ``call_soon_threadsafe``: about 60 µs, two thirds of
what an executor costs. While the thread is idle the whole exchange runs on it in one hop. Only while it is in an
inference worth overlapping are frames translated elsewhere meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import traceback
from collections.abc import Callable
from functools import partial
from itertools import filterfalse
from time import perf_counter
from typing import Any, TypeVar

from offboard_client.errors import InferTimeout, OffboardError, PolicyFailed, told

from ..types import Chunk, Policy
from .at_once import Promise
from .batching import Work
from .calls import Call, infer, too_late
from .deliveries import deliver, tell
from .exchange import Exchange
from .loans import Loans, say
from .pipeline import Result
from .translators import Translators

log = logging.getLogger(__name__)
T = TypeVar("T")

#: An inference shorter than this (s) is not worth another thread hop to translate beside it.
WORTH_OVERLAPPING = 0.001


class ModelThread:
    """An :class:`~.executor.Executor`: a daemon thread with a queue of calls and exchanges.

    Set :attr:`policy` (on this thread, by a call) before the first exchange is submitted. ``limit``: as of
    :meth:`expire`, for what is answered on the event loop, where nothing can be given up meanwhile.
    """

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop, limit: float = math.inf) -> None:
        self.policy: Policy[Any] | None = None
        self.busy_since: float | None = None
        self._loop = loop
        # Its own: a codec that never returns from them keeps no other model from answering.
        self._translators = Translators(name)
        self._work = Work()
        self._promise = Promise(name, limit)
        self._last_infer = 0.0
        self._open: set[Exchange] = set()
        self._loans = Loans(loop, self._open)
        self._behind: list[Exchange] = []
        self._thread = threading.Thread(target=self._run, name=f"offboard-model-{name}", daemon=True)
        try:
            self._thread.start()
        except BaseException:  # see Translators
            self._translators.stop()
            raise

    # -- on the event loop ----------------------------------------------------------------------------------
    async def call(self, function: Callable[[], T], timeout: float | None, what: str) -> T:
        """See :meth:`Executor.call`."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._work.put(Call(function, future, self._loop))
        try:
            if not (await asyncio.wait({future}, timeout=timeout))[0]:
                future.cancel()
                raise InferTimeout(f"{what} did not return within {timeout:g} s")
            return future.result()
        except Exception as error:
            # The frames that the error came through hold the policy; who keeps the error must not keep that.
            traceback.clear_frames(error.__traceback__)
            if isinstance(error, OffboardError):
                raise
            log.exception("%s failed", what)
            raise PolicyFailed(f"{what} failed: {told(error)}") from error

    def post(self, function: Callable[[], Any], what: str) -> None:
        """See :meth:`Executor.post`."""

        def quietly() -> None:
            try:
                function()
            except BaseException:
                log.exception("%s failed", what)

        self._work.put(Call(quietly, self._loop.create_future(), self._loop))

    def submit(self, exchange: Exchange) -> None:
        """See :meth:`Executor.submit`."""
        self._open.add(exchange)
        self._begin(exchange)

    def _begin(self, exchange: Exchange) -> None:
        if not exchange.begins():
            self._behind.append(exchange)
        elif self._promise.holds(self.policy, exchange):
            # Later, too: frames that came in one piece are one observation after the other here as elsewhere.
            self._loop.call_soon(self._serve_at_once, exchange)
        elif (long := self._last_infer > WORTH_OVERLAPPING) and self.busy_since is not None:
            self._translators.submit(partial(self._prepare_beside, exchange))
        else:
            if not long:  # beside a longer one the wake-up is nothing
                self._loans.lend(exchange)
            # The last thing the loop does before it sleeps: were it to go on, the two threads would fight for the GIL.
            self._loop.call_soon(self._work.put, exchange)

    def _serve_at_once(self, exchange: Exchange) -> None:
        if not self._work and self._promise.answer(self.policy, exchange):
            self._deliver([exchange])
        elif not exchange.abandoned:
            self._work.put(exchange)

    def expire(self, limit: float) -> None:
        """See :meth:`Executor.expire`; and begin what waited for its session's last exchange and may begin now."""
        now = perf_counter()
        for exchange in [e for e in self._open if now - e.submitted > limit]:
            if self._loans.recall(exchange):
                continue
            self._open.discard(exchange)
            error = too_late(limit, self._why_late(exchange, limit))
            reply = exchange.give_up(error)
            deliver(exchange, reply, error)
            tell(exchange, reply, error)
        behind, self._behind = self._behind, []
        for exchange in behind:
            if exchange in self._open:
                self._begin(exchange)

    def _why_late(self, exchange: Exchange, limit: float) -> str:
        if exchange.pipeline.translating.locked():
            return f"the codec {exchange.pipeline.codec.name} has not returned from what this session sent"
        if (seconds := self.busy_for()) > limit / 2:
            return f"it has been in one call for {seconds:.1f} s"
        if not exchange.prepared and (seconds := self._translators.busy_for()) > limit / 2:
            return f"codecs of other sessions have kept every thread that translates for {seconds:.1f} s"
        return "others were queued before you"

    def abandon(self, exchange: Exchange) -> None:
        """See :meth:`Executor.abandon`."""
        exchange.abandoned = True
        if exchange.loan is not None:
            exchange.loan.recall()
        self._open.discard(exchange)

    def settle(self, exchange: Exchange) -> None:
        """See :meth:`Executor.settle`."""
        self._loans.recall(exchange)

    def forget(self, pipeline: Any) -> None:
        """See :meth:`Executor.forget`."""
        self.post(lambda: self._work.window.forget(id(pipeline)), "forgetting a session")

    def busy_for(self) -> float:
        """Seconds the current call has been running; 0.0 when idle."""
        since = self.busy_since
        return 0.0 if since is None else perf_counter() - since

    def stuck(self, limit: float) -> str | None:
        """See :meth:`Executor.stuck`: a call, or what every translator is in."""
        if (seconds := self.busy_for()) > limit:
            return f"stuck in one call for {seconds:.0f} s"
        if (seconds := self._translators.busy_for()) > limit:
            return f"stuck in calls of its codec, on every thread that translates, for {seconds:.0f} s"
        return None

    @property
    def queued(self) -> int:
        """See :attr:`Executor.queued`."""
        return sum(exchange.loan is None or not exchange.loan.said for exchange in self._open)

    def stop(self) -> None:
        """See :meth:`Executor.stop`."""
        self._work.put(None)

    def is_alive(self) -> bool:
        """See :meth:`Executor.is_alive`."""
        return self._thread.is_alive()

    # -- on the model thread --------------------------------------------------------------------------------
    def _run(self) -> None:
        while True:
            item = self._work.next()
            if item is None:
                self._translators.stop()
                self._promise.stop()
                return
            self.busy_since = perf_counter()
            try:
                with self._promise.turn:
                    if isinstance(item, Call):
                        item.run()
                    else:
                        self._serve(item)
            except BaseException:
                log.exception("the model thread survived a fault of its own")
            finally:
                self.busy_since = None
                del item

    def _serve(self, first: Exchange) -> None:
        policy = self.policy
        assert policy is not None
        batch = self._batch(first, policy)
        if not batch:
            return
        start, many = perf_counter(), len(batch)
        for exchange in batch:
            exchange.started = start
            exchange.batch = many
            exchange.queue_ms = max(0.0, (start - exchange.arrived) * 1e3 - exchange.prepare_ms)
        results = infer(policy, batch)
        end = perf_counter()
        took = self._last_infer = end - start
        if policy.max_batch_size > 1:
            self._work.window.served((id(e.pipeline) for e in batch), took, end)
        overlap = took > WORTH_OVERLAPPING and bool(self._work)
        for exchange, result in zip(batch, results, strict=True):
            exchange.infer_ms = took * 1e3
            if overlap:
                # The next call may write into the same memory before this one's answer is written.
                own = result.copy() if isinstance(result, Chunk) else result
                self._translators.submit(partial(self._finish, exchange, own))
            else:
                exchange.finish(result)
        # All at once: a loop that is woken by the first reply would fight for the GIL until the last.
        if not overlap and (unsaid := list(filterfalse(say, batch))):
            self._deliver_soon(unsaid)
        self._promise.answered_elsewhere(batch)

    def _batch(self, first: Exchange, policy: Policy[Any]) -> list[Exchange]:
        """``first`` and whatever else can share one call with it, translated and in time; the rest is held back."""
        if policy.max_batch_size == 1:
            return [first] if self._ready(first) else []
        batch: list[Exchange] = []
        later: list[Exchange] = []
        waiting = [exchange for exchange in self._work.beside(first, policy.max_batch_size) if self._ready(exchange)]
        if len(waiting) == 1:  # with nobody beside it, its key decides nothing, and may cost as much as its answer
            return waiting
        for exchange in waiting:
            try:
                exchange.key = policy.batch_key(exchange.item())
                alone = exchange.pipeline.alone or (batch and batch[0].pipeline.alone)
                same = not batch or (not alone and bool(exchange.key == batch[0].key))
            except OffboardError as error:  # a policy in another process says that it is gone
                self._finish(exchange, error)
                continue
            except BaseException as error:
                log.exception("batch_key failed")
                self._finish(exchange, PolicyFailed(f"batch_key raised {told(error)}"))
                continue
            (batch if same and all(e.pipeline is not exchange.pipeline for e in batch) else later).append(exchange)
        self._work.hold(later)
        return batch

    def _ready(self, exchange: Exchange) -> bool:
        """Translate it if nobody has; answer it at once if it failed, is late or was given up."""
        if exchange.abandoned:
            return False
        if exchange.prepare() and not exchange.late():
            return True
        if exchange.error is not None:
            self._finish(exchange, exchange.error)
        return False

    # -- on any thread --------------------------------------------------------------------------------------
    def _prepare_beside(self, exchange: Exchange) -> None:
        exchange.prepare()
        self._work.put(exchange)

    def _finish(self, exchange: Exchange, result: Result) -> None:
        exchange.finish(result)
        self._deliver_soon([exchange])

    def _deliver_soon(self, finished: list[Exchange]) -> None:
        try:  # noqa: SIM105 - of every exchange
            self._loop.call_soon_threadsafe(self._deliver, finished)
        except RuntimeError:  # the loop is closed: the server has left
            pass

    def _deliver(self, finished: list[Exchange]) -> None:
        told = False
        for exchange in finished:
            if not exchange.abandoned:
                self._open.discard(exchange)
                deliver(exchange, exchange.reply, exchange.error)
                told = told or exchange.pipeline.records is not None
        if told:  # when everybody has an answer
            for exchange in finished:
                if not exchange.abandoned:
                    tell(exchange, exchange.reply, exchange.error)
