"""The bare WebSocket: packed bytes between the ``websockets`` package's sync client and asyncio server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peers import _envelope, _websocket


def serve(policy: str, listening: Callable[[int], None]) -> None:
    """Answer every message with the same bytes."""
    _websocket.serve(listening, lambda message: _envelope.ANSWER)


class Client(_websocket.Connection):
    """Sends packed observations, gets packed chunks."""

    def prepare(self, observation: Mapping[str, Any]) -> bytes:
        """The packed observation."""
        return _envelope.pack(observation)

    def infer(self, prepared: bytes) -> bytes:
        """One exchange of bytes."""
        return self.exchange(prepared)

    def chunk(self, answer: bytes) -> NDArray[np.float32]:
        """Unpacked, for the check."""
        return _envelope.unpack(answer)["actions"]
