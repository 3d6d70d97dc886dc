"""One robot's session on the loaded model."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from time import perf_counter
from typing import Any

from offboard_client.errors import ModelLost, OffboardError

from .exchange import Deliver, Exchange, Pipeline
from .lease import Lease
from .model_slot import ModelSlot


class ServiceSession:
    """One robot's session: ``meta``, one observation at a time, and the lease that keeps the model loaded."""

    def __init__(
        self,
        slot: ModelSlot,
        lease: Lease,
        pipeline: Pipeline,
        meta: dict[str, Any],
        asked: tuple[Any, Any],
        forget: Callable[[ServiceSession], None],
    ) -> None:
        self.id = secrets.token_urlsafe(16)
        self.meta = meta
        #: The model id and the parameters as the client named them.
        self.asked = asked
        self.lease = lease
        self.pipeline = pipeline
        self._slot = slot
        self._forget = forget
        self._loop = asyncio.get_running_loop()
        self._exchange: Exchange | None = None
        self._closed = False

    def on_evict(self, callback: Callable[[OffboardError], None]) -> None:
        """``callback(error)`` is called once if the session has to end: idle while others wait, or the model died."""
        self.lease.on_evict(callback)

    def submit(self, frame: Any, deliver: Deliver, arrived: float | None = None) -> None:
        """Send a frame through; ``deliver(reply, error)`` follows on the event loop. One at a time.

        ``arrived``: when it came (``perf_counter``), if that was not now: its deadline counts from then.
        """
        assert self._exchange is None, "one observation at a time"
        self.lease.begin(self._loop.time())

        def delivered(reply: Any, error: OffboardError | None) -> None:
            self._exchange = None
            self.lease.end(self._loop.time())
            deliver(reply, error)
            if isinstance(error, ModelLost):
                self._slot.lost(self.lease.loaded, error)

        self._exchange = Exchange(self.pipeline, frame, delivered, arrived)
        self.lease.loaded.thread.submit(self._exchange)

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
        """End the episode; the next observation starts a new one."""
        await self._call(self.pipeline.session.reset, "resetting the episode")

    async def ping(self) -> float:
        """Milliseconds until the model's own thread answered."""
        start = perf_counter()
        await self._call(lambda: None, "the model's thread")
        return (perf_counter() - start) * 1e3

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
        if self._exchange is not None:
            self.lease.loaded.thread.abandon(self._exchange)
            self._exchange = None
            self.lease.end(self._loop.time())
        slot = self._slot
        if linger and slot.limits.linger > 0 and self.lease.loaded.lost is None and not self._closed:
            slot.linger(self.lease, self.close)
            return
        if not self._closed:
            self._closed = True
            self._forget(self)
            slot.release(self.lease)

    async def _call(self, function: Callable[[], None], what: str) -> None:
        self.lease.begin(self._loop.time())
        try:
            await self.lease.loaded.thread.call(function, self._slot.limits.infer, what)
        except ModelLost as error:
            self._slot.lost(self.lease.loaded, error)
            raise
        finally:
            self.lease.end(self._loop.time())
