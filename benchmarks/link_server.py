"""A server behind a link: ``link_server.py MBIT DELAY_MS`` prints ``{"port": N}``, and serves until its stdin ends.

The link passes so many megabits a second each way (0: all at once), each byte so many milliseconds late on each way.
The policy answers a fixed chunk at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading

from offboard_core import Chunk, InferenceServer
from workloads import CHUNK

_PIECE = 16384


class Link:
    """Passes bytes on to ``port``. ``rate``: bytes a second each way, or None; ``delay``: seconds, each way."""

    def __init__(self, port: int, rate: float | None, delay: float) -> None:
        self._to, self._rate, self._delay = port, rate, delay
        self._ways: set[asyncio.Task[None]] = set()

    async def serve(self) -> int:
        """Listen; the port."""
        server = await asyncio.start_server(self._joined, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        for ends in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pass(*ends))
            self._ways.add(task)
            task.add_done_callback(self._ways.discard)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        loop, sent = asyncio.get_running_loop(), 0.0

        def write(data: bytes) -> None:
            if not sink.is_closing():
                sink.write(data)

        while data := await source.read(_PIECE):
            sent = max(sent, loop.time()) + (len(data) / self._rate if self._rate else 0.0)
            loop.call_at(sent + self._delay, write, data)
        loop.call_at(max(sent, loop.time()) + self._delay, sink.close)


def _leave_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


async def _main(port: int, mbit: float, delay_ms: float) -> None:
    shown = await Link(port, mbit * 1e6 / 8 if mbit else None, delay_ms / 1000).serve()
    print(json.dumps({"port": shown}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    with InferenceServer({"fixed": lambda: lambda observation: Chunk({"action": CHUNK})}, port=0) as server:
        asyncio.run(_main(server.port, float(sys.argv[1]), float(sys.argv[2])))
