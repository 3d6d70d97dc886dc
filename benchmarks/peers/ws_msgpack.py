"""What openpi's own pair does, written anew: websockets' sync client and asyncio server, msgpack, an inline policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from workloads import CHUNK

from peers import _envelope, _websocket


def _infer(message: bytes) -> bytes:
    _envelope.unpack(message)
    return _envelope.pack({"actions": CHUNK})


def serve(policy: str, listening: Callable[[int], None]) -> None:
    """Unpack, answer with the chunk, pack."""
    _websocket.serve(listening, _infer)


class Client(_websocket.Connection):
    """From a map of arrays to a map of arrays."""

    def prepare(self, observation: Mapping[str, Any]) -> Mapping[str, Any]:
        """As it is."""
        return observation

    def infer(self, prepared: Mapping[str, Any]) -> dict[str, Any]:
        """Pack, exchange, unpack."""
        return _envelope.unpack(self.exchange(_envelope.pack(prepared)))

    def chunk(self, answer: dict[str, Any]) -> NDArray[np.float32]:
        """The actions of the answer."""
        return answer["actions"]
