"""A proxy between a robot and a server that does to their connections what networks do, and more."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

from puppets import PATIENCE

#: Closed with nothing left to linger for, a socket tells its peer so by RST.
_AT_ONCE = struct.pack("ii", 1, 0)


class _Pair:
    """A robot's connection and the one to the server."""

    def __init__(self, robot: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.robot, self.server = robot, server
        #: What is sent is swallowed from now on, on either side.
        self.deaf = False


class FaultProxy:
    """Passes bytes on to ``port``; each method may be called from any thread, and returns at once.

    ``delay``: seconds by which whatever is passed on is late. ``rate``: bytes per second, each way; None: all at once.
    ``passed``: how many bytes were passed on, both ways together.
    """

    def __init__(self, port: int) -> None:
        self.to, self.delay, self.passed = port, 0.0, 0
        self.rate: float | None = None
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._passing = asyncio.Event()
        self._passing.set()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._connected, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    def stall(self) -> None:
        """Pass nothing on until :meth:`flow`, and then everything."""
        self._do(self._passing.clear)

    def flow(self) -> None:
        """End :meth:`stall`."""
        self._do(self._passing.set)

    def reset(self) -> None:
        """RST to both sides."""

        def each(pair: _Pair) -> None:
            for writer in (pair.robot, pair.server):
                held: Any = writer.get_extra_info("socket")
                held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                writer.transport.abort()

        self._each(each)

    def cut(self) -> None:
        """FIN to both sides, in the middle of whatever is said."""
        self._each(lambda pair: (pair.robot.close(), pair.server.close()))

    def half_open(self) -> None:
        """The connections that there are stay open, and nothing that is sent on them arrives."""
        self._each(lambda pair: setattr(pair, "deaf", True))

    def garble(self, junk: bytes) -> None:
        """Put ``junk`` between what the server sends."""
        self._each(lambda pair: pair.robot.write(junk))

    # -- inside ----------------------------------------------------------------------------------------
    def _do(self, what: Callable[[], Any]) -> None:
        self._loop.call_soon_threadsafe(what)

    def _each(self, what: Callable[[_Pair], Any]) -> None:
        def all_of_them() -> None:
            for pair in list(self._pairs):
                with contextlib.suppress(OSError):
                    what(pair)

        self._do(all_of_them)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError):
                answers, server = await asyncio.open_connection("127.0.0.1", self.to)
                pair = _Pair(writer, server)
                self._pairs.add(pair)
                try:
                    ways = [self._pass(reader, server, pair), self._pass(answers, writer, pair)]
                    # One side's end is the other's.
                    await asyncio.wait(map(asyncio.ensure_future, ways), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    self._pairs.discard(pair)
                    server.close()
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, pair: _Pair) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if wait := self.delay + (len(data) / self.rate if self.rate else 0.0):
                    await asyncio.sleep(wait)
                await self._passing.wait()
                if not pair.deaf:
                    self.passed += len(data)
                    sink.write(data)
                    await sink.drain()

    async def _end(self) -> None:
        self._server.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        for _ in range(3):  # what was closed leaves the loop
            await asyncio.sleep(0)
