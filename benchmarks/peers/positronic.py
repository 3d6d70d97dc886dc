"""Positronic 0.4.1's own server and client, unmodified, in an environment of its own (``--python positronic=PATH``)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from workloads import CHUNK

from peers import PATIENCE_S


def serve(policy: str, listening: Callable[[int], None]) -> None:
    """Its ``PolicyServer`` over its WebSocket, with images as they are (by itself it asks for JPEG)."""
    from positronic.offboard.server import PolicyServer  # pyright: ignore[reportMissingImports]
    from positronic.offboard.spec import Model, PolicyDeployment  # pyright: ignore[reportMissingImports]
    from positronic.policy.processors import ChunkedSchedule  # pyright: ignore[reportMissingImports]
    from positronic_model_server import server_wire, websocket_wire  # pyright: ignore[reportMissingImports]

    class Null(Model):
        def __call__(self, observation: Any, *, session_id: str) -> Any:
            return {"actions": CHUNK}

    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    threading.Thread(target=_tell, args=(port, listening), daemon=True).start()
    server = PolicyServer(Null, PolicyDeployment(ChunkedSchedule(fps=10), compress_images=False))
    server.serve([websocket_wire.WebsocketWire(server_wire.ServedHostPort("127.0.0.1", port))])


def _tell(port: int, listening: Callable[[int], None]) -> None:
    """It says nothing when it listens."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            listening(port)
            return


class Client:
    """Its client, as its own remote policy uses it."""

    def __init__(self, port: int) -> None:
        from positronic.offboard.client import InferenceClient  # pyright: ignore[reportMissingImports]
        from positronic.policy.remote import round_trip  # pyright: ignore[reportMissingImports]
        from positronic_wire import wire  # pyright: ignore[reportMissingImports]
        from positronic_wire.registry import client_wire  # pyright: ignore[reportMissingImports]

        self._round_trip: Any = round_trip
        address = wire.HostPortAddress("127.0.0.1", port, wire.SESSION_PATH, "")
        self._session: Any = InferenceClient(client_wire("websocket"), address).new_session()

    def prepare(self, observation: Mapping[str, Any]) -> Mapping[str, Any]:
        """As it is: its names are these."""
        return observation

    def infer(self, prepared: Mapping[str, Any]) -> Any:
        """One exchange."""
        return self._round_trip(self._session, prepared, False)

    def chunk(self, answer: Any) -> NDArray[np.float32]:
        """The actions of the answer."""
        return answer["actions"]

    def close(self) -> None:
        """Leave."""
        self._session.close()
