"""A request and its answer over the ``websockets`` package, as openpi uses it: no compression, no size limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.sync.client import connect

from peers import PATIENCE_S, listen


def serve(listening: Callable[[int], None], answer: Callable[[bytes], bytes]) -> None:
    """Answer each message of each connection by ``answer``, called on the event loop."""

    async def converse(connection: ServerConnection) -> None:
        async for message in connection:
            assert isinstance(message, bytes)
            await connection.send(answer(message))

    async def forever() -> None:
        listener = listen()
        listening(listener.getsockname()[1])
        async with serve_websockets(converse, sock=listener, compression=None, max_size=None) as server:
            await server.serve_forever()

    asyncio.run(forever())


class Connection:
    """One client connection."""

    def __init__(self, port: int) -> None:
        self._websocket = connect(
            f"ws://127.0.0.1:{port}", compression=None, max_size=None, open_timeout=PATIENCE_S, proxy=None
        )

    def exchange(self, message: bytes) -> bytes:
        """Send one message and wait for the next one."""
        self._websocket.send(message)
        reply = self._websocket.recv()
        assert isinstance(reply, bytes)
        return reply

    def close(self) -> None:
        """Leave."""
        self._websocket.close()
