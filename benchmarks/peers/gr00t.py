"""What GR00T's server and client do, written anew: ZMQ's REQ and REP, msgpack, arrays as ``.npy`` files in it.

As ``gr00t/policy/server_client.py`` has it in N1.5 to N1.7; the package itself is not on PyPI.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import msgpack
import numpy as np
import zmq
from numpy.typing import NDArray
from workloads import CHUNK

from peers import PATIENCE_S

_packb: Any = msgpack.packb


def _pack(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{type(value).__name__} has no place in an observation")
    file = io.BytesIO()
    np.save(file, value, allow_pickle=False)
    return {"__ndarray_class__": True, "as_npy": file.getvalue()}


def _unpack(value: dict[str, Any]) -> Any:
    return np.load(io.BytesIO(value["as_npy"]), allow_pickle=False) if "__ndarray_class__" in value else value


def serve(policy: str, listening: Callable[[int], None]) -> None:
    """One request after the other, on the thread that infers."""
    with zmq.Context() as context, context.socket(zmq.REP) as sock:
        listening(sock.bind_to_random_port("tcp://127.0.0.1"))
        while True:
            request: Any = msgpack.unpackb(sock.recv(), object_hook=_unpack)
            assert request["endpoint"] == "get_action"
            sock.send(_packb([{"action": CHUNK[None]}, {}], default=_pack))


class Client:
    """Batches of one, as its policies want them."""

    def __init__(self, port: int) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REQ)
        self._socket.setsockopt(zmq.RCVTIMEO, PATIENCE_S * 1000)
        self._socket.connect(f"tcp://127.0.0.1:{port}")

    def prepare(self, observation: Mapping[str, Any]) -> Mapping[str, Any]:
        """Images and state with batch and time, texts in a list."""
        return {name: [[v]] if isinstance(v, str) else v[None, None] for name, v in observation.items()}

    def infer(self, prepared: Mapping[str, Any]) -> Any:
        """Pack, exchange, unpack."""
        request = {"endpoint": "get_action", "data": {"observation": prepared, "options": None}}
        self._socket.send(_packb(request, default=_pack))
        return msgpack.unpackb(self._socket.recv(), object_hook=_unpack)

    def chunk(self, answer: Any) -> NDArray[np.float32]:
        """The actions of the answer."""
        return answer[0]["action"][0]

    def close(self) -> None:
        """Leave."""
        self._socket.close(0)
        self._context.term()
