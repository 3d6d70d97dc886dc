"""A slot, everybody who wants something of it, and ways to let them go on."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from offboard_core.engine import ModelSlot, ModelSpec, ServerStats, ServiceTimeouts
from puppets import PATIENCE, Puppet

NEVER = 3600.0


class Bed:
    """A slot and everybody who wants something of it."""

    def __init__(self, **limits):
        self.stats = ServerStats()
        self.slot = ModelSlot(ServiceTimeouts(**{"status_every": 0.01, **limits}), self.stats)
        self.loads = []
        self.policies = {}

    def spec(self, name, make=Puppet):
        def load(report, place):
            self.loads.append(name)
            report(f"reading {name}")
            self.policies[name] = policy = make()
            return policy

        return ModelSpec(("test", name), name, load)

    def want(self, name, holder="a robot", make=Puppet):
        return Want(self.slot, self.spec(name, make), holder)

    async def have(self, name, holder="a robot", make=Puppet):
        return await self.want(name, holder, make).lease()


class Want:
    """A client that asks for a lease. ``news``: what it was told meanwhile."""

    def __init__(self, slot, spec, holder):
        self.news = []
        self.told = asyncio.Event()
        self.task = asyncio.ensure_future(slot.acquire(spec, holder, self._hear))

    async def _hear(self, status):
        self.news.append((status.state, status.message))
        self.told.set()

    async def hears(self, phase, text=""):
        while True:
            self.told.clear()
            if any(p == phase and text in m for p, m in self.news):
                return
            await asyncio.wait_for(self.told.wait(), PATIENCE)

    async def lease(self):
        return await asyncio.wait_for(asyncio.shield(self.task), PATIENCE)

    @property
    def waits(self):
        return not self.task.done()

    async def leaves(self):
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


@asynccontextmanager
async def bed(**limits):
    made = Bed(**limits)
    try:
        yield made
    finally:
        await made.slot.close()


async def becomes(true):
    """Until it holds, one turn of the event loop after the other."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "this did not happen"
        await asyncio.sleep(0)


async def turns(count=20):
    """Let everything that can go on go on."""
    for _ in range(count):
        await asyncio.sleep(0)
