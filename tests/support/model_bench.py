"""A model's thread with a policy on it, driven from an event loop as the service does it."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from offboard_core import CodecMeta, NoParams, OffboardError, Policy
from offboard_core.engine import ContextReader, Exchange, ModelThread, Pipeline, ServerStats, SessionStats
from puppets import PATIENCE, PlainSerializer, resolved

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it on an event loop of its own; bounded."""

    async def bounded() -> T:
        return await asyncio.wait_for(coroutine, 2 * PATIENCE)

    return asyncio.run(bounded())


class HandClock(asyncio.SelectorEventLoop):
    """A loop whose time a test moves on."""

    moved = 0.0

    def time(self) -> float:
        return super().time() + self.moved

    def move(self, seconds: float) -> None:
        """So much later it is now."""
        self.moved += seconds


def run_by_hand(main: Callable[[HandClock], Coroutine[Any, Any, T]]) -> T:
    """Run it on a loop whose time it moves itself. Not bounded: a bound would be moved with it."""
    loop = HandClock()
    try:
        return loop.run_until_complete(main(loop))
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def until(event: Any) -> None:
    """Wait for a threading.Event without holding up the loop."""
    assert await asyncio.to_thread(event.wait, PATIENCE), "this did not happen"


class Bench:
    """``async with Bench(policy) as bench``: the policy is on its thread. ``limit``: seconds for an answer."""

    def __init__(self, policy: Policy[Any], limit: float = math.inf) -> None:
        self.policy, self.limit = policy, limit
        self.stats = ServerStats()

    async def __aenter__(self) -> "Bench":
        self.thread = ModelThread("bench", asyncio.get_running_loop(), self.limit)
        await self.call(lambda: setattr(self.thread, "policy", self.policy))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.thread.stop()
        await asyncio.to_thread(self.thread._thread.join, PATIENCE)
        assert not self.thread.is_alive()

    async def call(self, function: Any) -> Any:
        return await self.thread.call(function, PATIENCE, "a call of the test")

    async def pipeline(self, serializer: Any = None, meta: CodecMeta | None = None) -> Pipeline:
        episode = await self.call(lambda: self.policy.new_session(NoParams()))
        codec = resolved(meta)
        context = ContextReader(self.policy, codec)
        return Pipeline(episode, codec, lambda: serializer or PlainSerializer(), SessionStats(self.stats), context)

    async def pipelines(self, count: int) -> list[Pipeline]:
        return [await self.pipeline() for _ in range(count)]

    def submit(self, pipeline: Pipeline, frame: Any, arrived: float | None = None) -> "Asked":
        return Asked(self.thread, pipeline, frame, arrived)


class Asked:
    """An exchange under way. ``deliveries``: how often it was answered."""

    def __init__(self, thread: ModelThread, pipeline: Pipeline, frame: Any, arrived: float | None) -> None:
        self._future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.deliveries = 0
        self.exchange = Exchange(pipeline, frame, self._deliver, arrived)
        thread.submit(self.exchange)

    def _deliver(self, reply: Any, error: OffboardError | None) -> None:
        self.deliveries += 1
        if not self._future.done():
            self._future.set_result((reply, error))

    async def reply(self) -> tuple[Any, dict[str, float]]:
        """The result or error, and the timing."""
        reply, error = await self._future
        if reply is None:  # the serializer never read it, and has no frame for it
            return error, {}
        result, timing = reply
        assert error is (result if isinstance(result, OffboardError) else None)
        return result, timing


def shared(bench: Bench, pipelines: list[Pipeline]) -> list[list[int]]:
    """Who took part in each call of the policy, by number."""
    episodes = [pipeline.session for pipeline in pipelines]
    return [[episodes.index(episode) for episode in batch] for batch in bench.policy.batches]
