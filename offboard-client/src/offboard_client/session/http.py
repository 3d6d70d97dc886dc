"""The HTTP calls of a client."""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from ..errors import BadMessage, ConnectionFailed
from ..protocol import AttemptFailed, Attempts, Deadline, Settings, from_os_error, from_response
from ..wire import MODELS_PATH, STATUS_PATH, decode_text
from .sockets import connect

_READ_BYTES = 65536
_MOST_BYTES = 4 * 2**20

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What a server answered to a GET."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def waiting(settings: Settings, ask: Callable[[Settings, Deadline], T]) -> T:
    """What ``ask`` returns; where nothing answers at all it is tried again, as a session is.

    Raises ConnectionFailed, Unauthorized, or the error that the server names.
    """
    attempts = Attempts(settings, settings.timeouts.open)
    while True:
        try:
            return ask(settings, attempts.deadline)
        except AttemptFailed as failed:
            settings.clock.sleep(attempts.delay(failed))


def ask_models(settings: Settings, deadline: Deadline) -> list[str]:
    """One attempt for the ids that the server lists. Raises AttemptFailed for one after which another may succeed."""
    models: Any = _ask(settings, deadline, MODELS_PATH).get("models")
    if not isinstance(models, list):
        raise BadMessage(f"{settings.address} answered its list of models without 'models': is it an offboard server?")
    return [str(model) for model in cast("list[Any]", models)]


def ask_status(settings: Settings, deadline: Deadline) -> dict[str, Any]:
    """One attempt for what the server is doing. Raises as :func:`ask_models`."""
    return _ask(settings, deadline, STATUS_PATH)


def look(settings: Settings, deadline: Deadline, path: str) -> Answer:
    """What is answered to a GET, whatever it is. Raises AttemptFailed, ConnectionFailed or BadMessage."""
    deadline = deadline.within(settings.timeouts.connect)
    try:
        raw = connect(settings, deadline)
    except OSError as error:
        raise _once(from_os_error(error, settings.address, absent=True)) from None
    try:
        with raw:
            return _get(settings, raw, deadline, path)
    except OSError as error:
        raise from_os_error(error, settings.address).error from None
    except http.client.HTTPException as error:
        raise ConnectionFailed(f"{settings.address} does not answer as an HTTP server ({error!r})") from None


def _ask(settings: Settings, deadline: Deadline, path: str) -> dict[str, Any]:
    answer = look(settings, deadline, path)
    if answer.status != 200:
        raise from_response(answer.status, answer.headers, answer.body, settings.address).error
    found: Any = decode_text(answer.body.decode("utf-8", "replace"))
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _once(failed: AttemptFailed) -> Exception:
    """What is there and fails is not asked again: nobody waits for it."""
    return failed if failed.absent else failed.error


def _get(settings: Settings, raw: socket.socket, deadline: Deadline, path: str) -> Answer:
    address = settings.address
    connection = http.client.HTTPConnection(address.name, address.port)
    connection.sock = cast("Any", _Timed(raw, deadline))
    connection.request("GET", address.base + path, headers=dict(settings.headers))
    with connection.getresponse() as response:
        body = bytearray()
        while part := response.read1(_READ_BYTES):
            body += part
            if len(body) > _MOST_BYTES:
                raise BadMessage(f"{path} of {address} has not ended after {len(body):,} bytes")
    return Answer(response.status, dict(response.headers.items()), bytes(body))


class _Timed:
    """A socket for ``http.client``, whose every read and write asks the deadline: who drips does not extend it."""

    def __init__(self, raw: socket.socket, deadline: Deadline) -> None:
        self._raw, self._deadline = raw, deadline

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest.nbytes:
            self._raw.settimeout(self._deadline.left())
            rest = rest[self._raw.send(rest) :]

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._raw, self._deadline))

    def close(self) -> None:
        """Whoever opened the socket closes it."""


class _Reader(io.RawIOBase):
    def __init__(self, raw: socket.socket, deadline: Deadline) -> None:
        self._raw, self._deadline = raw, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._raw.settimeout(self._deadline.left())
        return self._raw.recv_into(buffer)
