"""A session on a blocking socket, and the thread that keeps it alive while nobody asks for anything."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from ._attempts import AttemptFailed, Attempts, from_os_error, from_silence
from ._protocol import SessionProtocol
from ._rows import Row
from ._settings import Settings
from ._timing import Step
from .errors import ConnectionLost, InferTimeout
from .messages import Ready

_READ_BYTES = 65536
# Servers give a client 20 s to answer a ping.
_KEEP_EVERY_S = 2.0
_NEVER_BLOCK = 0.0


def open_connection(settings: Settings, url: str, seconds: float) -> Connection:
    """A session that is ready, after as many attempts as it takes within ``seconds``."""
    attempts = Attempts(settings.clock, seconds, settings.report)
    while True:
        try:
            return Connection(settings, url, attempts.deadline)
        except AttemptFailed as failed:
            settings.clock.sleep(attempts.delay(failed))


class Connection:
    """One ready session on one socket. Not thread-safe, but for :meth:`interrupt`."""

    def __init__(self, settings: Settings, url: str, deadline: float) -> None:
        self._settings = settings
        self._now = settings.clock.now
        #: Held by whoever uses the socket; the keeper only takes it while it is free.
        self.lock = threading.Lock()
        self.protocol = SessionProtocol(settings, url)
        until = min(deadline, self._now() + settings.timeouts.connect)
        try:
            self._socket = _connect(settings, until - self._now())
        except OSError as error:
            raise from_os_error(error, settings.address) from None
        try:
            self._upgrade(until)
            self._handshake(deadline)
        except OSError as error:
            self._socket.close()
            raise from_os_error(error, settings.address) from None
        except BaseException:
            self._socket.close()
            raise
        self._stop = threading.Event()
        threading.Thread(
            target=_keep, args=(weakref.ref(self), self._stop), name=f"offboard-keeper-{settings.address}", daemon=True
        ).start()

    @property
    def alive(self) -> bool:
        """Whether another exchange may be begun."""
        return self.protocol.state == "ready"

    def infer(self, observation: Mapping[str, Any]) -> tuple[Sequence[Row] | None, Step]:
        """One observation and its answer; any doubt about the answer closes the socket."""
        return self._exchange(lambda: self.protocol.ask(observation), self.protocol.answer)

    def control(self, kind: Literal["reset", "ping", "stats"]) -> dict[str, Any]:
        """One control frame and its answer."""
        return self._exchange(lambda: self.protocol.ask_control(kind), lambda: self.protocol.answer_control(kind))

    def close(self) -> None:
        """Say goodbye, wait for the server's answer within the close timeout, close."""
        self._stop.set()
        with self.lock, contextlib.suppress(OSError):
            deadline = self._now() + self._settings.timeouts.close
            self.protocol.close()
            self._send(self.protocol.outgoing(), deadline)
            while not self.protocol.ended:
                self._receive(deadline)
        self._socket.close()

    def interrupt(self) -> None:
        """End an exchange that another thread is in: it sees its connection lost."""
        self._stop.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def drain(self) -> bool:
        """Take what has arrived, answer pings, without waiting. False once the socket has ended."""
        try:
            while True:
                self._socket.settimeout(_NEVER_BLOCK)
                data = self._socket.recv(_READ_BYTES)
                self.protocol.feed(data)
                self._send(self.protocol.outgoing(), self._now() + self._settings.timeouts.close)
                if not data or self.protocol.answered:  # what nobody asked for ends a session
                    return False
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            self.protocol.feed(b"")
            return False

    # -- inside ----------------------------------------------------------------------------------------
    def _upgrade(self, until: float) -> None:
        self._send(self.protocol.outgoing(), until)
        while not self.protocol.upgraded:
            self._receive(until)

    def _handshake(self, deadline: float) -> None:
        until = 0.0
        while not isinstance(frame := self.protocol.handshake(), Ready):
            if frame is not None:
                self._settings.report(frame)
            if frame is not None or not until:
                until = min(deadline, self._now() + self._settings.timeouts.status)
                continue
            try:
                self._receive(until)
            except TimeoutError:
                raise from_silence("said nothing for too long", self._settings.address) from None

    def _exchange(self, ask: Callable[[], memoryview], answer: Callable[[], Any]) -> Any:
        with self.lock:
            # What arrived since the last exchange answers nothing that will be asked now.
            self.drain()
            try:
                self._talk(ask())
                return answer()
            finally:
                # Whatever ends an exchange half way, Ctrl-C included, leaves an answer that belongs to nobody.
                if not self.alive:
                    self._stop.set()
                    self._socket.close()

    def _talk(self, out: memoryview) -> None:
        deadline = self._now() + self._settings.timeouts.infer
        try:
            self._send(out, deadline)
            while not self.protocol.answered:
                self._receive(deadline)
        except TimeoutError:
            raise InferTimeout(
                f"{self._settings.address} did not answer within {self._settings.timeouts.infer:g} s. Its answer will "
                "not be used: the session is closed, and the next call opens a new one"
            ) from None
        except OSError as error:
            # The server may have said why it closes before the socket broke.
            self.drain()
            if not self.protocol.answered:
                raise ConnectionLost(f"the connection to {self._settings.address} broke: {error}") from None

    def _send(self, data: bytes | memoryview, deadline: float) -> None:
        if data:
            self._wait_until(deadline)
            self._socket.sendall(data)

    def _receive(self, deadline: float) -> None:
        self._wait_until(deadline)
        data = self._socket.recv(_READ_BYTES)
        self.protocol.feed(data)
        self._send(self.protocol.outgoing(), deadline)

    def _wait_until(self, deadline: float) -> None:
        left = deadline - self._now()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)


def _connect(settings: Settings, seconds: float) -> socket.socket:
    address = settings.address
    if seconds <= 0:
        raise TimeoutError
    raw = socket.create_connection((address.host, address.port), timeout=seconds)
    try:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return settings.tls.wrap_socket(raw, server_hostname=address.host) if settings.tls else raw
    except BaseException:
        raw.close()
        raise


def _keep(reference: weakref.ref[Connection], stop: threading.Event) -> None:
    """Answers pings and notices a closed socket while the session idles; ends with the session.

    It never waits for a session in use: an exchange answers pings itself.
    """
    while not stop.wait(_KEEP_EVERY_S):
        connection = reference()
        if connection is None:
            return
        if connection.lock.acquire(blocking=False):
            try:
                if stop.is_set() or not connection.drain():
                    return
            finally:
                connection.lock.release()
        del connection
