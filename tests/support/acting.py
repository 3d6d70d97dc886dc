"""A script's end of ``POST /act``: plain HTTP, without offboard's client."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from offboard_core.server import InferenceServer
from puppets import PATIENCE

JSON = {"Content-Type": "application/json"}


class Acted(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: Any


@contextmanager
def dialled(server: InferenceServer) -> Iterator[http.client.HTTPConnection]:
    """A connection that may be used for several requests."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE)
    try:
        yield connection
    finally:
        connection.close()


def ask(
    connection: http.client.HTTPConnection, body: Any, path: str = "/act", headers: Mapping[str, str] | None = None,
    method: str = "POST",
) -> Acted:  # fmt: skip
    """``body``: bytes and text as they are, all else as JSON."""
    data = body if isinstance(body, (bytes, str)) else json.dumps(body)
    connection.request(method, path, data, JSON if headers is None else headers)
    answer = connection.getresponse()
    return Acted(answer.status, answer.headers, json.loads(answer.read()))


def act(server: InferenceServer, body: Any, path: str = "/act", **more: Any) -> Acted:
    """The same on a connection of its own."""
    with dialled(server) as connection:
        return ask(connection, body, path, **more)
