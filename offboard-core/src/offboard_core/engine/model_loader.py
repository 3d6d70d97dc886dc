"""Loads a model on a thread of its own, and unloads it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple, TypeVar

from offboard_client.errors import InferTimeout, LoadFailed, OffboardError, told
from offboard_client.wire import Status

from ..process import collect
from ..types import Progress
from .checks import check_policy
from .lease import LoadedModel, ModelSpec
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
        self._stuck: tuple[str, ModelThread] | None = None

    async def load(self, spec: ModelSpec) -> LoadedModel:
        """A thread with the policy on it. Raises LoadFailed; then nothing of the model is left."""
        if self._stuck is not None and self._stuck[1].is_alive():
            raise self._failed(
                spec,
                f"{self._stuck[0]} was given up, but its last call has not returned yet, and holds its memory; "
                f"{spec.label} can be loaded when it has. If it never does, restart the server",
            )
        self._stuck = None
        self.spec, self.progress = spec, "starting"
        self.since = self._heard = self._loop.time()
        thread = ModelThread(spec.label, self._loop)
        try:
            problem = await self._while_heard_of(thread.call(lambda: self._build(spec, thread), None, "loading"))
        except InferTimeout as error:
            self._stuck = (spec.label, thread)
            problem = _Problem(error.text)
        except asyncio.CancelledError:
            _discard(thread)
            raise
        finally:
            self.spec = None
        if problem is not None:
            _discard(thread)
            self._stats.loads["failed"] += 1
            raise self._failed(spec, f"{spec.label} could not be loaded: {problem.text}", problem.permanent)
        now = self._loop.time()
        self._stats.loads["ok"] += 1
        self._stats.load_seconds = now - self.since
        log.info("loaded %s in %.1f s", spec.label, now - self.since)
        return LoadedModel(spec, thread, now)

    def status(self, spec: ModelSpec) -> Status:
        """What whoever waits for ``spec``, which is being loaded, is told."""
        told, seconds = self.progress, self._loop.time() - self.since
        begin = f"loading {spec.label}: "
        text = f"{begin}{told} ({seconds:.0f} s so far)"
        if isinstance(told, Progress):
            return Status("loading", text, begin + told.phase, seconds, told.done, told.total)
        return Status("loading", text, begin + told, seconds)

    def note(self, model: str, text: str) -> None:
        """Remember what failed last."""
        self.failure = Failure(datetime.now(timezone.utc), model, text)

    async def unload(self, loaded: LoadedModel) -> None:
        """Close the policy and end its thread. What does not end in time keeps its memory, and is remembered."""
        thread = loaded.thread
        try:
            await thread.call(lambda: _close(thread), self._limits.close, f"closing {loaded.label}")
            log.info("unloaded %s", loaded.label)
        except InferTimeout:
            self._stuck = (loaded.label, thread)
            log.error("%s did not close within %g s and keeps its memory", loaded.label, self._limits.close)
        except OffboardError as error:
            # It was asked to go; what it says to that is no reason to refuse whoever wants the next one.
            log.error("closing %s failed: %s", loaded.label, error.text)
        finally:
            thread.stop()

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

    def _build(self, spec: ModelSpec, thread: ModelThread) -> _Problem | None:
        """On the model's thread: None, or what went wrong.

        The exception itself must not leave the thread: its traceback would keep a half-made model alive.
        """

        def report(message: str) -> None:
            if self.spec is not spec:  # the server closes, or gave it up: what was started for it ends here
                raise LoadFailed("nobody waits for it any more")
            self._loop.call_soon_threadsafe(self._hear)
            self.progress = message if type(message) in (str, Progress) else str(message)

        try:
            thread.policy = check_policy(spec.load(report))
            return None
        except OffboardError as error:
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


def _discard(thread: ModelThread) -> None:
    """End a thread whose load failed or is not wanted any more, with whatever it may still bring."""
    thread.post(lambda: _close(thread), "closing a model that nobody wants any more")
    thread.stop()


def _close(thread: ModelThread) -> None:
    policy, thread.policy = thread.policy, None
    try:
        if policy is not None:
            policy.close()
    finally:
        del policy
        collect()
