"""The slot: the one checkpoint that is loaded, who uses it, and who waits for another.

One task owns what is loaded and serves requests strictly in the order they came: the same model → a lease at
once; another → wait until the leases end, close the old one, load. Whoever asks for the old model after that
queues behind the switch, so nobody who waits can starve. A load that fails leaves the slot empty.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from offboard_client._printable import told
from offboard_client.errors import Idle, InferTimeout, Internal, LoadFailed, ModelLost, OffboardError, ShuttingDown
from offboard_client.messages import Status

from .lease import Lease, Limits, Loaded, OnStatus, Recipe, Request
from .loading import Failure, Loading
from .stats import ServerStats
from .translators import Translators
from .waiting import wait_until_set

log = logging.getLogger(__name__)


class Slot:
    """Owns the loaded policy. All methods are for the event loop's thread."""

    def __init__(self, limits: Limits, translators: Translators, stats: ServerStats) -> None:
        self.limits = limits
        self._loop = asyncio.get_running_loop()
        self._requests: deque[Request] = deque()
        self._loaded: Loaded | None = None
        self._loading = Loading(limits, translators, stats)
        self._changed = asyncio.Event()
        self._closing = False
        self._owner = self._loop.create_task(self._run(), name="offboard-slot")
        self._watch = self._loop.create_task(self._watchdog(), name="offboard-watchdog")

    # -- what the service calls -------------------------------------------------------------------------------
    async def acquire(self, recipe: Recipe, holder: str, on_status: OnStatus) -> Lease:
        """A lease on ``recipe``'s model; waits and loads as needed, telling ``on_status`` every few seconds."""
        if self._closing:
            raise ShuttingDown("the server is going away; try again when it is back")
        if not self._requests and (loaded := self._usable(recipe)):
            return self._grant(loaded, holder)
        request = Request(recipe, holder, self._loop.create_future())
        self._requests.append(request)
        self._changed.set()
        try:
            while not request.future.done():
                request.news.clear()
                await on_status(self._status(request))
                await wait_until_set(request.news, self.limits.status_every)
            return request.future.result()
        except BaseException:
            # Whoever asked is gone; a lease granted at this very moment must not be lost with him.
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
        lease.loaded.leases.discard(lease)
        self._changed.set()

    def reclaim(self, lease: Lease) -> bool:
        """Take a lingering lease over; False if it is gone."""
        if lease.lingering is None or lease not in lease.loaded.leases or lease.loaded.lost is not None:
            return False
        lease.lingering.cancel()
        lease.lingering = None
        lease.on_evict(None)
        lease.active = self._loop.time()
        return True

    def lost(self, loaded: Loaded, error: ModelLost) -> None:
        """The model died: every session on it is told, and nobody is given it any more."""
        if loaded.lost is None:
            loaded.lost = error
            self._loading.note(loaded.label, error.text)
            for lease in list(loaded.leases):
                lease.evict(error)
            self._changed.set()

    @property
    def loaded(self) -> Loaded | None:
        """What is in the slot."""
        return self._loaded

    @property
    def failure(self) -> Failure | None:
        """The last load that failed, or model that was lost."""
        return self._loading.failure

    def wedged(self) -> bool:
        """Whether the loaded policy has been in one call for longer than the limit."""
        return self._loaded is not None and self._loaded.thread.busy_for() > self.limits.infer

    def ready(self) -> bool:
        """Whether a warm, healthy policy is in the slot and the server is not draining."""
        return self._loaded is not None and self._loaded.lost is None and not self.wedged() and not self._closing

    def status(self) -> dict[str, Any]:
        """Plain data for ``/api/v1/status``."""
        now = self._loop.time()
        loaded, loading = self._loaded, self._loading
        recipe = loading.recipe
        return {
            "loaded": loaded
            and {"model": loaded.label, "for_s": round(now - loaded.since, 1), "lost": bool(loaded.lost)},
            "loading": recipe
            and {
                "model": recipe.label,
                "for_s": round(now - self._loading.since, 1),
                "progress": self._loading.progress,
            },
            "wedged": self.wedged(),
            "holders": [
                {"client": lease.holder, "for_s": round(now - lease.since, 1), "idle_s": round(lease.idle(now), 1)}
                for lease in sorted(loaded.leases if loaded else (), key=lambda lease: lease.since)
            ],
            "last_failure": (failure := self.failure)
            and {
                "model": failure.model,
                "text": failure.text,
                "time": failure.time.isoformat(timespec="seconds"),
            },
            "waiting": [request.recipe.label for request in self._requests if not request.future.done()],
            "in_flight": loaded.thread.queued if loaded else 0,
        }

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
            await self._loading.unload(loaded)

    # -- the task that owns the slot ----------------------------------------------------------------------------
    async def _run(self) -> None:
        while True:
            self._changed.clear()
            if not self._requests:
                await self._changed.wait()
                continue
            request = self._requests[0]
            try:
                if not request.future.done():
                    await self._serve(request)
            except LoadFailed as error:
                self._fail(request, error)
                if error.permanent:  # nobody else need try
                    for other in self._requests:
                        if other.recipe.key == request.recipe.key:
                            self._fail(other, error)
            except OffboardError as error:
                self._fail(request, error)
            except Exception as error:
                log.exception("the slot failed")
                self._fail(request, Internal(f"the model slot failed: {told(error)}"))
            finally:
                self._requests.remove(request)

    async def _serve(self, request: Request) -> None:
        while True:
            if request.future.done():
                return  # nobody wants this any more: what is loaded stays
            if loaded := self._usable(request.recipe):
                request.future.set_result(self._grant(loaded, request.holder))
                return
            if self._loaded is None or not self._loaded.leases:
                break
            self._make_room()
            self._changed.clear()
            await wait_until_set(self._changed, min(1.0, self.limits.idle))
        if self._loaded is not None:
            previous, self._loaded = self._loaded, None
            await self._loading.unload(previous)
        loading = asyncio.ensure_future(self._loading.load(request.recipe))
        for waiting in self._requests:
            waiting.news.set()
        loaded = self._loaded = await loading
        if not request.future.done():
            request.future.set_result(self._grant(loaded, request.holder))

    async def _watchdog(self) -> None:
        while True:
            await asyncio.sleep(min(0.25, self.limits.infer / 4))
            if self._loaded is not None:
                try:
                    self._loaded.thread.expire(self.limits.infer)
                except Exception:
                    log.exception("a timeout could not be told")

    # -- small things ---------------------------------------------------------------------------------------------
    def _usable(self, recipe: Recipe) -> Loaded | None:
        loaded = self._loaded
        if loaded is None or loaded.key != recipe.key or loaded.lost is not None:
            return None
        most = loaded.policy.max_sessions
        if most is not None and len(loaded.leases) >= most:
            return None
        if self.wedged():
            raise InferTimeout(
                f"{loaded.label} has been stuck in one call for {loaded.thread.busy_for():.0f} s; "
                "if it does not return, restart the server"
            )
        return loaded

    def _grant(self, loaded: Loaded, holder: str) -> Lease:
        lease = Lease(loaded, holder, self._loop.time())
        loaded.leases.add(lease)
        return lease

    def _fail(self, request: Request, error: OffboardError) -> None:
        if not request.future.done():
            request.future.set_exception(error)

    def _make_room(self) -> None:
        """Somebody waits: those who are asleep yield, and nobody is kept a place who is away."""
        now = self._loop.time()
        for lease in list(self._loaded.leases if self._loaded else ()):
            slept = lease.idle(now)
            if lease.lingering is not None or (slept and slept >= self.limits.idle):
                lease.evict(Idle(f"nothing was sent for {slept:.0f} s and somebody waits for the slot"))

    def _status(self, request: Request) -> Status:
        wanted, recipe, loaded = request.recipe, self._loading.recipe, self._loaded
        if recipe is not None:
            status = self._loading.status(recipe)
            if recipe.key == wanted.key:
                return status
            after = f"{wanted.label} comes after: "
            return replace(status, state="waiting", message=after + status.message, phase=after + status.phase)
        if loaded is None or not loaded.leases:
            return Status("loading", f"loading {wanted.label}")
        first = min(loaded.leases, key=lambda lease: lease.since)
        others = f" and {len(loaded.leases) - 1} more" if len(loaded.leases) > 1 else ""
        used, then = (
            f"{loaded.label} is in use by {first.holder}{others}",
            (
                f"{wanted.label} is loaded when they end"
                if wanted.key != loaded.key
                else f"it takes {loaded.policy.max_sessions} at a time (max_sessions); the next begins when they end"
            ),
        )
        seconds = self._loop.time() - first.since
        return Status("waiting", f"{used}, for {seconds:.0f} s; {then}", phase=f"{used}; {then}", elapsed_s=seconds)
