"""Our application on servers that are not ours, and a robot that connects to them on the same loop."""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import uvicorn
from model_bench import run
from offboard_client import wire
from puppets import PATIENCE, Puppet
from slot_bed import becomes
from websockets.asyncio.client import connect


@contextlib.asynccontextmanager
async def on_uvicorn(app: Any, **options: Any):
    """``(host, port)`` where a uvicorn with its defaults serves ``app``; as it is told to, it keeps the log alone."""
    server = uvicorn.Server(uvicorn.Config(app, **{"log_config": None, **options}))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        serving = asyncio.ensure_future(server.serve([listener]))
        try:
            await becomes(lambda: server.started or serving.done())
            if serving.done():
                serving.result()
            yield listener.getsockname()
        finally:
            server.should_exit = True
            await serving


class Robot:
    """An open socket."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def receive(self) -> dict[str, Any]:
        return wire.decode(await asyncio.wait_for(self.connection.recv(), PATIENCE))

    async def opened(self) -> dict[str, Any]:
        while (frame := await self.receive())["status"] in ("waiting", "loading"):
            pass
        return frame

    async def send(self, frame: dict[str, Any]) -> None:
        await self.connection.send(wire.encode(frame))

    async def ask(self, frame: dict[str, Any]) -> dict[str, Any]:
        await self.send(frame)
        return await self.receive()

    async def closed(self) -> int:
        """The code with which the server closes."""
        await asyncio.wait_for(self.connection.wait_closed(), PATIENCE)
        return self.connection.close_code


@contextlib.asynccontextmanager
async def robot(address: tuple[str, int], base: str = "", path: str = "", **options: Any):
    url = f"ws://{address[0]}:{address[1]}{base}/api/v1/session{path}"
    async with connect(url, open_timeout=PATIENCE, user_agent_header=None, **options) as connection:
        yield Robot(connection)


async def get(address: tuple[str, int], path: str) -> tuple[int, str]:
    """Status and body of a request."""
    reader, writer = await asyncio.open_connection(*address[:2])
    writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
    answer = (await asyncio.wait_for(reader.read(), PATIENCE)).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


def two_on_two_loops(served: Callable[[Callable[[], Puppet]], AbstractAsyncContextManager[tuple[str, int]]]) -> None:
    """Each of two that are served at once, on threads and loops of their own, answers a robot for itself."""
    both, results = threading.Barrier(2), []

    def serve(number: int) -> None:
        async def main() -> None:
            async with served(lambda: Puppet(meta={"number": number})) as address, robot(address) as one:
                meta = (await one.opened())["meta"]
                await asyncio.to_thread(both.wait, PATIENCE)
                results.append((meta["number"], "result" in await one.ask({"x": 1})))

        run(main())

    threads = [threading.Thread(target=serve, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(results) == [(1, True), (2, True)]


def open_descriptors() -> int:
    """How many this process has."""
    return len(os.listdir("/proc/self/fd"))


async def nothing_runs_but(threads: set[threading.Thread]) -> None:
    """Wait for the end of every other thread of this process; those of the loop's own executor stay."""
    for thread in set(threading.enumerate()) - threads:
        if not thread.name.startswith("asyncio_"):
            await asyncio.to_thread(thread.join, PATIENCE)
            assert not thread.is_alive(), thread
