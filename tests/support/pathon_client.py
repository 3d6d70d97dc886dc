"""The behaviour of the client of PathOn-AI's awesome-lerobot, transcribed: what it sends, and what it takes for what.

It numbers nothing: whatever comes next is the answer to what it sent last, also where it gave up on the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np
from puppets import PATIENCE
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect


class Failed(Exception):
    """What it raises, whatever went wrong."""


def packed(value: Any) -> Any:
    if isinstance(value, Tensor):
        array = value.array
        return {
            b"__tensor__": True, b"data": array.tobytes(), b"dtype": array.dtype.str, b"shape": array.shape,
            b"device": value.device.encode(),
        }  # fmt: skip
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    return value


def unpacked(found: Mapping[Any, Any]) -> Any:
    if b"__ndarray__" in found:
        return np.ndarray(buffer=found[b"data"], dtype=np.dtype(found[b"dtype"]), shape=found[b"shape"])
    return found


class Tensor:
    """What torch's would be on the wire, here without torch."""

    def __init__(self, array: Any, device: str = "cpu") -> None:
        self.array, self.device = array, device


class PathOnClient:
    """One connection. ``timeout``: how long it waits for an answer (30 s there)."""

    def __init__(self, uri: str, timeout: float = PATIENCE) -> None:
        self.timeout = timeout
        self._connecting = connect(uri, max_size=100 * 1024 * 1024, open_timeout=PATIENCE, close_timeout=PATIENCE)

    def __enter__(self) -> PathOnClient:
        self.socket = self._connecting.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._connecting.__exit__(*raised)

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        try:
            self.socket.send(msgpack.packb(message, default=packed))
            response = msgpack.unpackb(self.socket.recv(timeout=self.timeout), object_hook=unpacked)
        except TimeoutError:
            raise Failed(f"timeout after {self.timeout} s") from None
        except WebSocketException as error:
            raise Failed(f"communication error: {error}") from None
        if response.get("type") == "error":
            raise Failed(f"server error: {response.get('message')}")
        return response

    def select_action(self, observation: Mapping[str, Any]) -> Any:
        response = self.ask({"type": "select_action", "observation": observation})
        if response.get("type") != "action_response":
            raise Failed(f"unexpected response: {response}")
        return response["action"]

    def reset(self) -> bool:
        response = self.ask({"type": "reset"})
        if response.get("type") != "reset_response":
            raise Failed(f"reset failed: {response}")
        return True

    def ping(self) -> bool:
        try:
            return self.ask({"type": "ping"}).get("type") == "pong"
        except Failed:
            return False
