"""The slot: the one checkpoint that is loaded, who uses it, and who waits for another.

One task owns what is loaded and serves requests strictly in the order they came: the same model → a lease at
once; another → wait until the leases end, close the old one, load. Whoever asks for the old model after that
queues behind the switch, so nobody who waits can starve. A load that fails leaves the slot empty. Only those who wait
for a model to recover are passed by those who want another: one model's trouble is not the next one's.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from offboard_client.errors import (
    Idle,
    InferTimeout,
    Internal,
    LoadFailed,
    ModelLost,
    OffboardError,
    ShuttingDown,
    told,
)

from ..catalog import wait_until_set
from .lease import Lease, LeaseRequest, LoadedModel, ModelSpec, OnStatus, Replica
from .model_loader import Failure, ModelLoader
from .standing import news, standing
from .stats import ServerStats
from .timeouts import ServiceTimeouts
from .watch import shown

log = logging.getLogger(__name__)


class ModelSlot:
    """Owns the loaded policy. All methods are for the event loop's thread."""

    def __init__(self, limits: ServiceTimeouts, stats: ServerStats) -> None:
        self.limits = limits
        self._loop = asyncio.get_running_loop()
        self._requests: deque[LeaseRequest] = deque()
        self._loaded: LoadedModel | None = None
        self._loader = ModelLoader(limits, stats)
        self._changed = asyncio.Event()
        self._closing = False
        self._owner = self._loop.create_task(self._run(), name="offboard-slot")
        self._watch = self._loop.create_task(self._watchdog(), name="offboard-watchdog")

    # -- what the service calls -------------------------------------------------------------------------------
    async def acquire(self, spec: ModelSpec, holder: str, on_status: OnStatus) -> Lease:
        """A lease on ``spec``'s model; waits and loads as needed, telling ``on_status`` every few seconds."""
        if self._closing:
            raise ShuttingDown("the server is going away; try again when it is back")
        if not self._requests and (replica := self._usable(spec)):
            return self._grant(replica, holder)
        request = LeaseRequest(spec, holder, self._loop.create_future())
        self._requests.append(request)
        self._changed.set()
        try:
            while not request.future.done():
                request.news.clear()
                await on_status(news(request.spec, self._loaded, self._loader, self._loop.time()))
                await wait_until_set(request.news, self.limits.status_every)
            return request.future.result()
        except BaseException:
            # The client is gone; a lease granted at this very moment must not be lost with it.
            if not request.future.cancel() and not request.future.cancelled() and not request.future.exception():
                self.release(request.future.result())
            self._changed.set()
            raise

    def linger(self, lease: Lease, then: Callable[[], None]) -> None:
        """Keep the lease a while in case the robot's network recovers; ``then()`` if nobody reclaims it.

        Whoever waits for the slot does not wait for that.
        """
        lease.on_evict(lambda _: then())
        lease.lingering = self._loop.call_later(self.limits.linger, then)
        self._changed.set()

    def release(self, lease: Lease) -> None:
        """Give the lease back."""
        if lease.lingering is not None:
            lease.lingering.cancel()
        lease.replica.leases.discard(lease)
        self._changed.set()

    def reclaim(self, lease: Lease) -> bool:
        """Take a lingering lease over; False if it is gone."""
        replica = lease.replica
        if lease.lingering is None or lease not in replica.leases or replica.lost is not None:
            return False
        lease.lingering.cancel()
        lease.lingering = None
        lease.on_evict(None)
        lease.active = self._loop.time()
        return True

    def lost(self, replica: Replica, error: ModelLost) -> None:
        """It died: every session on it is told, and nobody is given it any more. Those on other replicas go on."""
        if replica.lost is None:
            replica.lost = error
            self._loader.note(replica.label, error.text)
            log.error("%s is lost: %s", replica.label, shown(error.text))
            for lease in list(replica.leases):
                lease.evict(error)
            self._changed.set()

    @property
    def loaded(self) -> LoadedModel | None:
        """What is in the slot."""
        return self._loaded

    @property
    def failure(self) -> Failure | None:
        """The last load that failed, or model that was lost."""
        return self._loader.failure

    def wedged(self) -> bool:
        """Whether a loaded policy, or its codec on every translator, has not returned for longer than the limit."""
        replicas = self._loaded.replicas if self._loaded is not None else ()
        return any(replica.executor.stuck(self.limits.infer) is not None for replica in replicas)

    def ready(self) -> bool:
        """Whether a warm, healthy policy is in the slot and the server is not draining."""
        return self.unready() is None

    def unready(self) -> str | None:
        """Why no robot should be sent here now; None if one should."""
        if self._closing:
            return "the server is going away"
        if (loaded := self._loaded) is None:
            spec = self._loader.spec
            if spec is not None:
                return f"{spec.label} is being loaded"
            return "no model is loaded" + (f"; {shown(self.failure.text)}" if self.failure is not None else "")
        self._ask(loaded)
        return loaded.unready(self.limits.infer)

    def vacant(self) -> bool:
        """Whether no model is loaded that could be used as a whole, and nobody waits for one or uses what is left."""
        loaded = self._loaded
        return not self._closing and not self._requests and (loaded is None or loaded.worn)

    def status(self) -> dict[str, Any]:
        """Plain data for ``/api/v1/status``."""
        waiting = [request.spec.label for request in self._requests if not request.future.done()]
        told = standing(self._loaded, self._loader, self._loop.time(), self.limits.infer)
        return {**told, "wedged": self.wedged(), "waiting": waiting}

    def drain(self) -> None:
        """Let nobody in any more; who is in goes on."""
        self._closing = True

    async def close(self) -> None:
        """Refuse whoever waits, let go of the model, stop the tasks. Bounded by the close limit."""
        self.drain()
        for request in self._requests:
            if not request.future.done():
                request.future.set_exception(ShuttingDown("the server is going away; try again when it is back"))
        for task in (self._owner, self._watch):
            task.cancel()
        await asyncio.gather(self._owner, self._watch, return_exceptions=True)
        if self._loaded is not None:
            for lease in list(self._loaded.leases):
                self.release(lease)
            loaded, self._loaded = self._loaded, None
            await self._loader.unload(loaded)

    # -- the task that owns the slot ----------------------------------------------------------------------------
    async def _run(self) -> None:
        while True:
            self._changed.clear()
            if not self._requests:
                await self._changed.wait()
                continue
            request = self._next()
            try:
                if not request.future.done():
                    await self._serve(request)
            except LoadFailed as error:
                self._fail(request, error)
                if error.permanent:  # nobody else need try
                    for other in self._requests:
                        if other.spec.key == request.spec.key:
                            self._fail(other, error)
            except OffboardError as error:
                self._fail(request, error)
            except Exception as error:
                log.exception("the model slot failed")
                self._fail(request, Internal(f"the model slot failed: {told(error)}"))
            finally:
                if request.future.done():  # if nobody wants it any more, what is loaded stays
                    self._requests.remove(request)

    def _next(self) -> LeaseRequest:
        """The first, unless it waits for a model to recover and another wants another one."""
        recovering = self._loaded is not None and self._loaded.recovering and self._loaded.key
        return next((r for r in self._requests if r.future.done() or r.spec.key != recovering), self._requests[0])

    async def _serve(self, request: LeaseRequest) -> None:
        """The lease, or the load and the lease, or a while of waiting for it."""
        if replica := self._usable(request.spec):
            request.future.set_result(self._grant(replica, request.holder))
            return
        loaded = self._loaded
        recovers = loaded is not None and loaded.recovering and loaded.key == request.spec.key
        if loaded is not None and (loaded.leases or recovers):
            if not recovers:
                self._make_room()
            await wait_until_set(self._changed, min(1.0, max(0.05, self.limits.idle)))
            return
        if self._loaded is not None:
            previous, self._loaded = self._loaded, None
            await self._loader.unload(previous)
        loading = asyncio.ensure_future(self._loader.load(request.spec))
        for waiting in self._requests:
            waiting.news.set()
        loaded = self._loaded = await loading
        self._ask(loaded)
        if not request.future.done() and (replica := loaded.pin(self.limits.infer)):
            request.future.set_result(self._grant(replica, request.holder))
        elif loaded.lost is not None:
            raise LoadFailed(f"{loaded.label} was loaded, and has failed since: {loaded.lost.text}")

    async def _watchdog(self) -> None:
        while True:
            await asyncio.sleep(min(0.25, self.limits.infer / 4))
            loaded = self._loaded
            for replica in loaded.replicas if loaded is not None else ():
                try:
                    replica.executor.expire(self.limits.infer)
                except Exception:
                    log.exception("a timeout could not be told")
            if loaded is not None:
                try:
                    self._ask(loaded)
                except Exception:
                    log.exception("a loss could not be told")

    # -- small things ---------------------------------------------------------------------------------------------
    def _usable(self, spec: ModelSpec) -> Replica | None:
        loaded = self._loaded
        if loaded is None or loaded.key != spec.key or loaded.worn:
            return None
        self._ask(loaded)
        if replica := loaded.pin(self.limits.infer):
            return replica
        if stuck := loaded.stuck(self.limits.infer):
            raise InferTimeout(f"{stuck}; if it does not return, restart the server")
        return None

    def _ask(self, loaded: LoadedModel) -> None:
        """Ask each replica how it is. One that has failed, or does not recover, is lost."""
        for replica in loaded.replicas:
            if replica.lost is None:
                self._ask_one(loaded, replica)

    def _ask_one(self, loaded: LoadedModel, replica: Replica) -> None:
        before, now = replica.watch.said.state, self._loop.time()
        health = replica.watch.ask(replica.policy, now)
        if health.state == "failed":
            self.lost(replica, ModelLost(health.reason or f"{replica.label} has failed"))
        elif replica.recovering and now - replica.watch.heard > self.limits.load:
            why = f"{replica.label} has not recovered for {now - replica.watch.since:.0f} s: {health.reason}"
            self.lost(replica, ModelLost(why))
            for waiting in self._requests if loaded.lost is not None else ():
                if waiting.spec.key == loaded.key:
                    self._fail(waiting, LoadFailed(why))
        if health.state != before:
            self._changed.set()
            for waiting in self._requests:
                waiting.news.set()

    def _grant(self, replica: Replica, holder: str) -> Lease:
        lease = Lease(replica, holder, self._loop.time())
        replica.leases.add(lease)
        return lease

    def _fail(self, request: LeaseRequest, error: OffboardError) -> None:
        if not request.future.done():
            request.future.set_exception(error)

    def _make_room(self) -> None:
        """A request waits: sessions that are asleep yield, and no lease lingers any longer."""
        now = self._loop.time()
        for lease in list(self._loaded.leases if self._loaded else ()):
            slept = lease.idle(now)
            if lease.lingering is not None or (slept and slept >= self.limits.idle):
                lease.evict(Idle(f"nothing was sent for {slept:.0f} s and another client waits for the slot"))
