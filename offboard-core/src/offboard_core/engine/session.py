"""One robot's session on the loaded model."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter
from typing import Any, TypeVar, cast

from offboard_client.errors import ModelLost, OffboardError
from offboard_client.plugins import build
from offboard_client.wire import CONFIGURE

from .configuration import Configuration
from .controls import answered, put_params
from .exchange import Exchange
from .lease import Lease
from .loans import Lend
from .model_slot import ModelSlot
from .observers import ExchangeRecord
from .pipeline import Deliver, Pipeline
from .records import SessionRecords

T = TypeVar("T")

#: Seconds that what went through a session is kept for after somebody looked at it.
LOOKING = 30.0
#: So many letters of its id name a session: enough to tell sessions apart, and far too few to guess the rest.
NAME_LENGTH = 8


class ServiceSession:
    """One robot's session: ``meta``, one observation at a time, and the lease that keeps the model loaded."""

    def __init__(
        self,
        slot: ModelSlot,
        lease: Lease,
        pipeline: Pipeline,
        meta: dict[str, Any],
        configuration: Configuration,
        asked: tuple[Any, Any],
        forget: Callable[[ServiceSession], None],
    ) -> None:
        self.id = secrets.token_urlsafe(16)
        self.meta = meta
        #: The model id and the parameters as the client named them.
        self.asked = asked
        self.lease = lease
        self.pipeline = pipeline
        self._begun = self._configuration = configuration
        self._slot = slot
        self._forget = forget
        self._loop = asyncio.get_running_loop()
        #: The one that is under way, and who is told of its answer.
        self._exchange: Exchange | None = None
        self._deliver: Deliver | None = None
        #: A reset was asked for and has not been done: nothing is answered before, out of an episode that is over.
        self._reset_due = False
        self._resetting: asyncio.Task[None] | None = None
        self._closed = False
        self._looking: asyncio.TimerHandle | None = None
        #: As observers see it; they do where ``pipeline.records`` is this.
        self.records: SessionRecords

    @property
    def name(self) -> str:
        """What it is called where others read it: who knows the whole id can take it over."""
        return self.id[:NAME_LENGTH]

    def look(self) -> ExchangeRecord | None:
        """What was answered last, with what the robot said and the model saw; None before the first since one looks.

        An exchange is copied only while somebody looks: for :data:`LOOKING` seconds after the last call.
        """
        self.settle()  # what was answered before one looks is not told of
        if self._looking is not None:
            self._looking.cancel()
        self._looking = self._loop.call_later(LOOKING, self._look_away)
        self.records.look(self.pipeline.stats.steps)
        self.pipeline.records = self.records
        return self.records.last

    def _look_away(self) -> None:
        self._looking = None
        self.records.look_away()
        if not self.records.observed:
            self.pipeline.records = None

    def on_evict(self, callback: Callable[[OffboardError], None]) -> None:
        """``callback(error)`` is called once if the session has to end: idle while others wait, or the model died."""
        self.lease.on_evict(callback)

    def submit(self, frame: Any, deliver: Deliver, arrived: float | None = None, lend: Lend | None = None) -> None:
        """Send a frame through; ``deliver(reply, error)`` follows on the event loop. One at a time.

        ``arrived``: when it came (``perf_counter``), if that was not now: its deadline counts from then. A reset that
        failed is tried again first: an observation is answered in its own episode, or with the error of that.
        ``lend``: asked for the right to say the answer where it is made (:class:`~.loans.Loan`); then ``reply`` is
        :data:`~.loans.SAID`, once it is settled.
        """
        assert self._exchange is None, "one observation at a time"
        assert self._resetting is None, "one observation at a time"
        self._deliver = deliver
        exchange = Exchange(self.pipeline, frame, self._delivered, arrived)
        exchange.lend = lend
        if self._reset_due:
            self._resetting = self._loop.create_task(self._submit_anew(exchange))
        else:
            self._submit(exchange)

    def _delivered(self, reply: Any, error: OffboardError | None) -> None:
        deliver, self._exchange, self._deliver = self._deliver, None, None
        assert deliver is not None
        self.lease.end(self._loop.time())
        deliver(reply, error)
        if error is not None and isinstance(error, ModelLost):
            self._slot.lost(self.lease.replica, error)

    def settle(self) -> None:
        """Do now what there is to be done about an answer that was said."""
        if self._exchange is not None:
            self.lease.replica.executor.settle(self._exchange)

    def _submit(self, exchange: Exchange) -> None:
        self.lease.begin(self._loop.time())
        self._exchange = exchange
        self.lease.replica.executor.submit(exchange)

    async def _submit_anew(self, exchange: Exchange) -> None:
        try:
            await self.reset()
        except OffboardError as error:
            self._resetting = None
            self.lease.begin(self._loop.time())
            reply = exchange.give_up(error)
            exchange.deliver(reply, error)
            if (records := self.pipeline.records) is not None:
                records.delivered(exchange, reply, error)
        else:
            self._resetting = None
            exchange.submitted = perf_counter()
            self._submit(exchange)

    async def infer(self, frame: Any) -> Any:
        """:meth:`submit` for those who would rather wait. The reply of this session's serializer.

        Raises the error that the serializer has no frame for.
        """
        future: asyncio.Future[Any] = self._loop.create_future()

        def delivered(reply: Any, error: OffboardError | None) -> None:
            if future.done():
                return
            if reply is None and error is not None:
                future.set_exception(error)
            else:
                future.set_result(reply)

        self.submit(frame, delivered)
        return await future

    async def reset(self) -> None:
        """End the episode; the next observation starts a new one.

        Raises InferTimeout, and what the policy raises. It stays due then, and is tried again before the next answer.
        """
        self._reset_due = True
        await self._call(self._reset, "resetting the episode")
        self._reset_due = False

    def _reset(self) -> None:
        self.pipeline.context.forget()
        self.pipeline.session.reset()

    async def ping(self) -> float:
        """Milliseconds until the model's own thread answered."""
        start = perf_counter()
        await self._call(lambda: None, "the model's thread")
        return (perf_counter() - start) * 1e3

    async def call(self, name: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Do what stands under ``name`` in ``meta.controls``, after what was asked before; its answer.

        A reset that failed is tried again first, which would undo what a policy's own control does to the old episode.
        Raises BadParameter for parameters that do not fit, InferTimeout, and what the policy raises.
        """
        if name == CONFIGURE:
            return await self._configure(params)
        control, session, wanted = self.lease.replica.policy.controls[name], self.pipeline.session, True
        options: Any = build(cast("type[Any]", control.params), params, f"the control {name}")

        if self._reset_due:
            await self.reset()

        def run() -> dict[str, Any]:
            return answered(name, control, control.run(session, options)) if wanted else {}

        try:
            return await self._call(run, f"the control {name}")
        finally:
            wanted = False  # what has not begun when its robot was told of a timeout, or went, is not done later

    def as_begun(self) -> None:
        """Go by what ``meta`` says again, which its robot is about to be told anew."""
        if self._configuration.params is not self._begun.params:
            # In its turn: an inference that the robot has not waited for may be under way.
            put_back = partial(put_params, self.pipeline.session, self._begun.params)
            self.lease.replica.executor.post(put_back, "putting parameters back")
        self._configuration, self.pipeline.codec = self._begun, self._begun.codec

    async def _configure(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        old, new = self._configuration, await self._configuration.changed(changes)
        policy = self.lease.replica.policy
        await self._call(partial(policy.check_params, new.params), "checking the parameters")
        # Not in that call, which may still be made when its robot has been told of a timeout. Nothing of this session
        # is under way now, and nothing of what follows can fail half way.
        self._configuration, self.pipeline.codec = new, new.codec
        if new.params is not old.params:
            put_params(self.pipeline.session, new.params)
        was, now = old.settings, new.settings
        return {"changed": {name: {"old": was[name].value, "new": now[name].value} for name in changes}}

    def touch(self) -> None:
        """The robot is there: the idle clock starts anew."""
        self.lease.active = self._loop.time()

    def silence(self) -> float:
        """Seconds since the robot sent something; 0 while it waits for an answer, and once it is to go."""
        lease = self.lease
        return 0.0 if lease.evicted is not None or lease.lingering is not None else lease.idle(self._loop.time())

    def evict(self, error: OffboardError) -> None:
        """End the session as if by :meth:`on_evict`."""
        self.lease.evict(error)

    def close(self, linger: bool = False) -> None:
        """End the session; with ``linger`` the lease and the episode stay a while for :meth:`PolicyService.reclaim`."""
        if self._resetting is not None:
            self._resetting.cancel()
            self._resetting = None
        if self._exchange is not None:
            self.lease.replica.executor.abandon(self._exchange)
            self._exchange = None
            self.lease.end(self._loop.time())
        slot = self._slot
        if linger and slot.limits.linger > 0 and self.lease.replica.lost is None and not self._closed:
            slot.linger(self.lease, self.close)
            return
        if not self._closed:
            self._closed = True
            if self._looking is not None:
                self._looking.cancel()
            self._forget(self)
            slot.release(self.lease)

    async def _call(self, function: Callable[[], T], what: str) -> T:
        self.lease.begin(self._loop.time())
        try:
            return await self.lease.replica.executor.call(function, self._slot.limits.infer, what)
        except ModelLost as error:
            # Whoever asked is told why before all sessions of the replica end.
            self._loop.call_soon(self._slot.lost, self.lease.replica, error)
            raise
        finally:
            self.lease.end(self._loop.time())
