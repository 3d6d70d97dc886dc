"""The physical limit: a length, the bytes, and back. Blocking sockets, buffers made beforehand, nothing else."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peers import PATIENCE_S, _envelope, listen

_LENGTH = struct.Struct("!Q")
_LARGEST = 4 << 20


def _receive(connection: socket.socket, into: memoryview) -> bool:
    """Fill ``into``; False when the other side has left."""
    have = 0
    while have < len(into):
        got = connection.recv_into(into[have:])
        if got == 0:
            return False
        have += got
    return True


def _answer_one(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    length, message = memoryview(bytearray(_LENGTH.size)), memoryview(bytearray(_LARGEST))
    reply = _LENGTH.pack(len(_envelope.ANSWER)) + _envelope.ANSWER
    with connection:
        while _receive(connection, length) and _receive(connection, message[: _LENGTH.unpack(length)[0]]):
            connection.sendall(reply)


def serve(policy: str, listening: Callable[[int], None]) -> None:
    """One thread per connection."""
    listener = listen()
    listening(listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_answer_one, args=(connection,), daemon=True).start()


class Client:
    """Sends packed observations, gets packed chunks."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Python's own timeout would add a poll() before every call; the kernel's leaves the socket blocking.
        patience = struct.pack("ll", PATIENCE_S, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        self._length = memoryview(bytearray(_LENGTH.size))
        self._reply = memoryview(bytearray(len(_envelope.ANSWER)))

    def prepare(self, observation: Mapping[str, Any]) -> bytes:
        """The length and the packed observation."""
        message = _envelope.pack(observation)
        return _LENGTH.pack(len(message)) + message

    def infer(self, prepared: bytes) -> memoryview:
        """One exchange of bytes."""
        self._socket.sendall(prepared)
        if not (_receive(self._socket, self._length) and _receive(self._socket, self._reply)):
            raise ConnectionError("the raw TCP server closed the connection")
        return self._reply

    def chunk(self, answer: memoryview) -> NDArray[np.float32]:
        """Unpacked, for the check."""
        return _envelope.unpack(answer)["actions"]

    def close(self) -> None:
        """Leave."""
        self._socket.close()
