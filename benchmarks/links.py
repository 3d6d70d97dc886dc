"""A slow network between this machine and itself, for a server in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import threading
from collections.abc import Callable

#: How many bytes have come, and when: when they are due at the other end, in seconds. One direction's own.
Way = Callable[[int, float], float]


def steady(rate: float | None, delay: float) -> Callable[[], Way]:
    """Ways that pass ``rate`` bytes a second (None: all at once), each ``delay`` seconds late."""

    def way() -> Way:
        sent = 0.0

        def due(size: int, now: float) -> float:
            nonlocal sent
            sent = max(sent, now) + (size / rate if rate else 0.0)
            return sent + delay

        return due

    return way


def uneven(delay: float, spread: float) -> Callable[[], Way]:
    """Ways that pass each piece ``delay`` ± ``spread`` seconds late, and none before the one that came before it."""
    drawn = random.Random(1)

    def way() -> Way:
        last = 0.0

        def due(size: int, now: float) -> float:
            nonlocal last
            last = max(last, now + delay + drawn.uniform(-spread, spread))
            return last

        return due

    return way


class Link:
    """Passes bytes on to ``port``, in pieces of ``piece`` bytes at most, as one of ``ways`` says each way."""

    def __init__(self, port: int, ways: Callable[[], Way], piece: int) -> None:
        self._to, self._way, self._piece = port, ways, piece
        self._running: set[asyncio.Task[None]] = set()

    async def serve(self) -> int:
        """Listen; the port."""
        server = await asyncio.start_server(self._joined, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        for ends in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pass(*ends))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        loop, due = asyncio.get_running_loop(), self._way()

        def write(data: bytes) -> None:
            if not sink.is_closing():
                sink.write(data)

        while data := await source.read(self._piece):
            loop.call_at(due(len(data), loop.time()), write, data)
        loop.call_at(due(0, loop.time()), sink.close)


def serve(link: Link | int) -> None:
    """Print ``{"port": N}``, the link's or one that needs none, and stay until stdin ends."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    asyncio.run(_shown(link))


async def _shown(link: Link | int) -> None:
    port = link if isinstance(link, int) else await link.serve()
    print(json.dumps({"port": port}), flush=True)
    await asyncio.Event().wait()


def _leave_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
