"""A server that a test lets say what no GR00T server would, or when none would."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import msgpack
import zmq


class Peer:
    """The server's end: a ROUTER, so that it may answer out of turn."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket

    def hear(self) -> tuple[list[bytes], Any]:
        """The next request: its envelope, and what it says with arrays left as they are written."""
        *envelope, body = self._socket.recv_multipart()
        return envelope, msgpack.unpackb(body, strict_map_key=False)

    def say(self, envelope: list[bytes], *parts: Any) -> None:
        """An answer; what is not bytes is packed."""
        packed: list[Any] = [part if isinstance(part, bytes) else msgpack.packb(part) for part in parts]
        self._socket.send_multipart([*envelope, *packed])


class Liar:
    """Runs ``script(peer)`` until the test has ended; then whatever it waits for ends."""

    def __init__(self, script: Callable[[Peer], object], port: int = 0) -> None:
        self._script, self._port = script, port
        self.errors: list[BaseException] = []

    def __enter__(self) -> Liar:
        self._context = zmq.Context()
        socket = self._context.socket(zmq.ROUTER)
        socket.linger = 0
        socket.bind(f"tcp://127.0.0.1:{self._port or '*'}")
        self.url = socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        self._socket = socket
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def _run(self) -> None:
        with contextlib.suppress(zmq.ContextTerminated):
            self._script(Peer(self._socket))
        self._socket.close()

    def __exit__(self, *_: object) -> None:
        self._context.term()
        self._thread.join()
