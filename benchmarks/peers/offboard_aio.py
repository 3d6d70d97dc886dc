"""offboard with its asyncio client, over the socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from offboard_client import AsyncInferenceClient, AsyncInferenceSession

from peers import offboard
from peers.offboard import serve

__all__ = ["Client", "serve"]


class Client(offboard.Client):
    """The same on an event loop of its own."""

    def __init__(self, port: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._session = self._loop.run_until_complete(self._open(port))

    async def _open(self, port: int) -> AsyncInferenceSession:
        self._client = AsyncInferenceClient("127.0.0.1", port, shared_memory=self.shared_memory)
        session = self._client.new_session()
        await session.__aenter__()
        return session

    def infer(self, prepared: Mapping[str, Any]) -> Any:
        """One step of a robot."""
        return self._loop.run_until_complete(self._session.infer(prepared))

    def close(self) -> None:
        """Leave."""
        self._loop.run_until_complete(self._session.close())
        self._loop.close()
