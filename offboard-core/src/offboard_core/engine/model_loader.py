"""Loads a model on a thread of its own, and unloads it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple, TypeVar

from offboard_client.errors import InferTimeout, LoadFailed, OffboardError, told
from offboard_client.wire import Status

from ..process import collect
from ..types import Placement, Progress
from .checks import check_policy, expect_policy
from .executor import Executor
from .lease import LoadedModel, ModelSpec, Replica
from .model_thread import ModelThread
from .stats import ServerStats
from .timeouts import ServiceTimeouts

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Failure:
    """When a load failed or a model was lost, which one, and why."""

    time: datetime
    model: str
    text: str


class _Problem(NamedTuple):
    """Why a load failed; ``permanent`` as in LoadFailed."""

    text: str
    permanent: bool = False


class ModelLoader:
    """Loads and unloads, one at a time. ``spec``, ``since``, ``progress``: what is being loaded now."""

    def __init__(self, limits: ServiceTimeouts, stats: ServerStats) -> None:
        self.spec: ModelSpec | None = None
        self.since = 0.0
        self.progress = ""
        self.failure: Failure | None = None
        self._limits, self._stats = limits, stats
        self._loop = asyncio.get_running_loop()
        self._heard = 0.0
        self._which = ""
        self._stuck: list[Replica] = []

    async def load(self, spec: ModelSpec) -> LoadedModel:
        """The model with all its replicas, one after the other. Raises LoadFailed; then nothing of it is left."""
        self._stuck = [one for one in self._stuck if one.executor.is_alive()]
        if self._stuck:
            raise self._failed(
                spec,
                f"{self._stuck[0].label} was given up, but its last call has not returned yet, and holds its memory; "
                f"{spec.label} can be loaded when it has. If it never does, restart the server",
            )
        self.spec, self.since = spec, self._loop.time()
        replicas: list[Replica] = []
        try:
            for number in range(spec.replicas):
                place = Placement(number, spec.replicas)
                label = spec.label if spec.replicas == 1 else f"{spec.label} (replica {number + 1} of {spec.replicas})"
                replicas.append(await self._replica(spec, place, label))
        except LoadFailed:
            self.spec = None  # what still hangs ends at its next word
            await self._close(replicas)
            raise
        except BaseException:  # nobody waits for it any more
            for replica in replicas:
                _discard(replica.executor)
            raise
        finally:
            self.spec = None
        now = self._loop.time()
        self._stats.loads["ok"] += 1
        self._stats.load_seconds = now - self.since
        several = f", {spec.replicas} replicas" if spec.replicas > 1 else ""
        log.info("loaded %s%s in %.1f s", spec.label, several, now - self.since)
        return LoadedModel(spec, replicas, now)

    async def _replica(self, spec: ModelSpec, place: Placement, label: str) -> Replica:
        self.progress, self._heard = "starting", self._loop.time()
        self._which = "" if place.replicas == 1 else f"replica {place.replica + 1} of {place.replicas}: "
        thread = ModelThread(label, self._loop, self._limits.infer)
        try:
            building = thread.call(lambda: self._build(spec, place, thread), None, "loading")
            problem = await self._while_heard_of(building)
        except InferTimeout as error:
            self._stuck.append(Replica(label, place.replica, thread, self._loop.time()))
            problem = _Problem(error.text)
        except asyncio.CancelledError:
            _discard(thread)
            raise
        if problem is not None:
            _discard(thread)
            self._stats.loads["failed"] += 1
            raise self._failed(spec, f"{label} could not be loaded: {problem.text}", problem.permanent)
        return Replica(label, place.replica, thread, self._loop.time())

    def status(self, spec: ModelSpec) -> Status:
        """What whoever waits for ``spec``, which is being loaded, is told."""
        told, seconds = self.progress, self._loop.time() - self.since
        begin = f"loading {spec.label}: {self._which}"
        text = f"{begin}{told} ({seconds:.0f} s so far)"
        if isinstance(told, Progress):
            return Status("loading", text, begin + told.phase, seconds, told.done, told.total)
        return Status("loading", text, begin + told, seconds)

    def note(self, model: str, text: str) -> None:
        """Remember what failed last."""
        self.failure = Failure(datetime.now(timezone.utc), model, text)

    async def unload(self, loaded: LoadedModel) -> None:
        """Close the policies and end their threads. What does not end in time keeps its memory, and is remembered."""
        await self._close(loaded.replicas)

    async def _close(self, replicas: Iterable[Replica]) -> None:
        await asyncio.gather(*map(self._close_one, replicas))

    async def _close_one(self, replica: Replica) -> None:
        label, executor = replica.label, replica.executor
        try:
            await executor.call(lambda: _close(executor), self._limits.close, f"closing {label}")
            log.info("unloaded %s", label)
        except InferTimeout:
            self._stuck.append(replica)
            log.error("%s did not close within %g s and keeps its memory", label, self._limits.close)
        except OffboardError as error:
            # It was asked to go; what it says to that is no reason to refuse whoever wants the next one.
            log.error("closing %s failed: %s", label, error.text)
        finally:
            executor.stop()

    def _failed(self, spec: ModelSpec, text: str, permanent: bool = False) -> LoadFailed:
        self.note(spec.label, text)
        return LoadFailed(text, permanent=permanent)

    async def _while_heard_of(self, loading: Coroutine[Any, Any, T]) -> T:
        """What it returns. Raises InferTimeout once nothing was heard of it for the limit's time."""
        limit, task = self._limits.load, asyncio.ensure_future(loading)
        try:
            while not task.done():
                if (silent := self._loop.time() - self._heard) >= limit:
                    raise InferTimeout(
                        f"nothing was heard of it for {silent:.0f} s; {self._loop.time() - self.since:.0f} s after it "
                        f"began it was last at {self.progress!r}. See whether its disk, network or program hangs; "
                        "raise --load-timeout if it needs longer for that"
                    )
                await asyncio.wait({task}, timeout=limit - silent)
            return task.result()
        finally:
            task.cancel()

    def _hear(self) -> None:
        self._heard = self._loop.time()

    def _build(self, spec: ModelSpec, place: Placement, thread: ModelThread) -> _Problem | None:
        """On the model's thread: None, or what went wrong.

        The exception itself must not leave the thread: its traceback would keep a half-made model alive.
        """

        def report(message: str) -> None:
            if self.spec is not spec:  # the server closes, or gave it up: what was started for it ends here
                raise LoadFailed("nobody waits for it any more")
            self._loop.call_soon_threadsafe(self._hear)
            self.progress = message if type(message) in (str, Progress) else str(message)

        try:
            thread.policy = expect_policy(spec.load(report, place))  # one that may not be used is closed, too
            check_policy(thread.policy)
            return None
        except OffboardError as error:
            if error.__cause__ is not None:  # else its text says all, and is told to whoever waits
                log.warning("loading %s failed", spec.label, exc_info=True)
            return _Problem(error.text, isinstance(error, LoadFailed) and error.permanent)
        except ImportError as error:  # what is not installed will not be while this process lives
            log.exception("loading %s failed", spec.label)
            return _Problem(told(error), permanent=True)
        # SystemExit included: a vendor's code that leaves the program must not take the slot with it.
        except BaseException as error:
            log.exception("loading %s failed", spec.label)
            return _Problem(told(error))
        finally:
            collect()


def _discard(executor: Executor) -> None:
    """End a thread whose load failed or is not wanted any more, with whatever it may still bring."""
    executor.post(lambda: _close(executor), "closing a model that nobody wants any more")
    executor.stop()


def _close(executor: Executor) -> None:
    policy, executor.policy = executor.policy, None
    try:
        if policy is not None:
            policy.close()
    finally:
        del policy
        collect()
