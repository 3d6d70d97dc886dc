"""A server that a test drives byte by byte, once it has said what openpi's says first."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from offboard_client import wire
from offboard_client.errors import LoadFailed
from offboard_core.process import AttachedServer
from offboard_openpi.checks import Checks
from offboard_openpi.connection import Connection
from offboard_openpi.first import FirstInference
from offboard_openpi.loader import attached
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


def frame(payload: Any, opcode: int = BINARY, fin: bool = True) -> bytes:
    """One WebSocket frame of a server; what is not bytes is encoded as openpi does."""
    data = payload if isinstance(payload, bytes) else wire.encode(payload)
    return Frame(Opcode(opcode), data, fin).serialize(mask=False)


class Peer:
    """The server's end of one socket, after the upgrade."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._protocol = ServerProtocol()
        while not (events := self._protocol.events_received()):
            self._protocol.receive_data(self.socket.recv(65536))
        self._protocol.send_response(self._protocol.accept(events[0]))
        self.socket.sendall(b"".join(self._protocol.data_to_send()))

    def say(self, *frames: bytes) -> None:
        self.socket.sendall(b"".join(frames))

    def pong(self) -> None:
        """Answer the pings that came, which nothing else does."""
        self.socket.sendall(b"".join(self._protocol.data_to_send()))

    def hear(self) -> Any:
        """The next observation."""
        return wire.decode(self.hear_bytes())

    def hear_bytes(self) -> bytes:
        """The next observation as it came. Who says goodbye is not kept waiting for ours."""
        while True:
            for event in self._protocol.events_received():
                opcode = getattr(event, "opcode", None)
                if opcode == CLOSE:
                    raise ConnectionError
                if opcode == BINARY:
                    return bytes(event.data)
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError
            self._protocol.receive_data(data)


class Liar:
    """Runs ``script(peer)`` for each socket, which is closed after it; what goes wrong there is the client's doing."""

    def __init__(self, script: Callable[[Peer], None], metadata: Any = None, port: int = 0) -> None:
        self._script, self._metadata = script, {} if metadata is None else metadata
        self._listener = socket.create_server(("127.0.0.1", port))
        self._peers: list[socket.socket] = []
        self._ended = threading.Event()
        self.port = self._listener.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def connections(self) -> int:
        """How many sockets there were."""
        return len(self._peers)

    def wait(self) -> None:
        """For a script: until the test is over."""
        self._ended.wait()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._peers.append(connection)
                threading.Thread(target=self._run, args=[connection], daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        peer = Peer(connection)
        peer.say(frame(self._metadata))
        self._script(peer)

    def __enter__(self) -> Liar:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for end in (self._listener, *self._peers):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        # Closed under a thread that is about to accept, its number would be the next one's. The threads close the rest.
        self._accepting.join()
        self._listener.close()


def attach(liar: Liar) -> AttachedServer[Connection]:
    """What is attached to it, with a config that nobody knows."""
    server = attached(liar.url, FirstInference(Checks("unknown", None)), LoadFailed, 240)
    server.open(lambda _: None)
    return server


def infer(server: AttachedServer[Connection], inputs: dict[str, Any], timeout: float = 240) -> dict[str, Any]:
    """openpi's reply, as :class:`offboard_openpi.policy.OpenPIPolicy` asks for it."""
    return server.ask(lambda connection: connection.ask(inputs, timeout))
