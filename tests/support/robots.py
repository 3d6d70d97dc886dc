"""The other end of the server's socket, at the level of frames; none of it is offboard's own client."""

import contextlib
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from offboard_client import wire
from offboard_core.server import InferenceServer
from puppets import PATIENCE
from websockets.exceptions import ConnectionClosed, InvalidMessage
from websockets.sync.client import ClientConnection, connect


class Robot:
    """An open socket."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def receive(self) -> dict[str, Any]:
        """The next frame, decoded."""
        frame = self.receive_raw()
        return json.loads(frame) if isinstance(frame, str) else wire.decode(frame)

    def receive_raw(self) -> bytes | str:
        return self.connection.recv(timeout=PATIENCE)

    def told(self, status: str) -> dict[str, Any]:
        """The next frame of this status; other frames of the handshake are passed over."""
        while (frame := self.receive())["status"] != status:
            assert frame["status"] in ("waiting", "loading"), frame
        return frame

    def opened(self) -> dict[str, Any]:
        """The frame that ends the handshake well."""
        while (frame := self.receive())["status"] in ("waiting", "loading"):
            pass
        assert frame["status"] == "ready", frame
        return frame

    def refused(self) -> dict[str, Any]:
        """The frame that ends the handshake badly."""
        while (frame := self.receive())["status"] in ("waiting", "loading"):
            pass
        assert frame["status"] == "error", frame
        return frame

    def send(self, frame: Mapping[str, Any] | bytes | str) -> None:
        """A map as a binary frame; bytes and text as they are."""
        self.connection.send(frame if isinstance(frame, (bytes, str)) else wire.encode(frame))

    def ask(self, frame: Mapping[str, Any] | bytes | str) -> dict[str, Any]:
        self.send(frame)
        return self.receive()

    def ask_text(self, frame: Any) -> dict[str, Any]:
        return self.ask(frame if isinstance(frame, str) else json.dumps(frame))

    def closed(self) -> int:
        """The code with which the server closes; what it still sends before is passed over."""
        while self.connection.close_code is None:
            with contextlib.suppress(ConnectionClosed):
                self.receive_raw()
        return self.connection.close_code

    @property
    def reason(self) -> str | None:
        return self.connection.close_reason

    def vanish(self) -> None:
        """Be gone as a robot without power is: no close frame."""
        self.connection.socket.shutdown(socket.SHUT_RDWR)
        self.connection.socket.close()


@contextmanager
def robot(server: InferenceServer, model: str = "", query: str = "", **options: Any) -> Iterator[Robot]:
    """A socket to ``/api/v1/session[/model][?query]``; both are put into the URL as they are."""
    scheme = "wss" if isinstance(options.get("ssl"), ssl.SSLContext) else "ws"
    url = f"{scheme}://{server.host}:{server.port}/api/v1/session"
    url += f"/{model}" if model else ""
    url += f"?{query}" if query else ""
    with connect_to(url, **options) as connection:
        yield Robot(connection)


def connect_to(url: str, **options: Any) -> ClientConnection:
    """A socket to anywhere; see websockets' own."""
    # Without a name: nobody takes it for one of Positronic's clients.
    asked = {
        "user_agent_header": None, "compression": None, "max_size": None,
        "open_timeout": PATIENCE, "close_timeout": PATIENCE, **options,
    }  # fmt: skip
    # websockets reads on a thread of its own while this one writes, which Python's TLS does not allow for: on a busy
    # machine one request in some hundreds is never sent.
    for _ in range(2 if "ssl" in options else 0):
        with contextlib.suppress(InvalidMessage):
            return connect(url, **asked)
    return connect(url, **asked)


def get(
    server: InferenceServer, path: str, headers: Mapping[str, str] | None = None, tls: ssl.SSLContext | None = None
) -> tuple[int, str, Mapping[str, str]]:
    """Status, body and headers."""
    url = f"{'https' if tls else 'http'}://{server.host}:{server.port}{path}"
    request = urllib.request.Request(url, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE, context=tls) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers


def get_json(server: InferenceServer, path: str) -> Any:
    status, body, _ = get(server, path)
    assert status == 200, body
    return json.loads(body)


def first(reply: Mapping[str, Any]) -> float:
    """The first number of the first row."""
    return float(reply["result"][0]["action"][0])
