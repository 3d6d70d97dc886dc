"""A listener on strings: the test decides what it does in each part of its life."""

import asyncio
import contextlib

from offboard_core.frontends import Listener, Peer


class Pigeons(Listener):
    """Listens on nothing at all, and does in each part of its life what the test says."""

    def __init__(self, **does):
        self._does, self.calls = does, []
        self.place, self.died = contextlib.ExitStack(), None

    async def start(self, service, admission, host, port):
        self.calls.append(("start", host, port))
        self._loop, self.died = asyncio.get_running_loop(), asyncio.Event()
        await self._do("start")
        self.place.enter_context(admission.enter(Peer("pigeon", "one")))
        return port or 4711

    async def wait(self):
        await self.died.wait()
        await self._do("wait")

    async def drain(self):
        self.calls.append("drain")
        await self._do("drain")

    async def close(self):
        self.calls.append("close")
        self.place.close()
        await self._do("close")

    def die(self):
        self._loop.call_soon_threadsafe(self.died.set)

    async def _do(self, part):
        does = self._does.get(part)
        if isinstance(does, BaseException):
            raise does
        if does is not None:
            await does()
