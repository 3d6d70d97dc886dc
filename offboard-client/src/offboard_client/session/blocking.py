"""A session on a blocking socket, and the thread that keeps it alive between calls."""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ..errors import ConnectionLost
from ..protocol import (
    AttemptFailed,
    Attempts,
    Deadline,
    Passed,
    Piece,
    SessionProtocol,
    Settings,
    Step,
    Turns,
    from_os_error,
    late,
)
from ..wire import Ready, Row
from .channel import Channel, quickest
from .shared import share
from .sockets import connect

# Servers give a client 20 s to answer a ping.
_KEEP_EVERY_S = 2.0


#: Makes one session's protocol.
MakeProtocol = Callable[[Settings, str], SessionProtocol]


def open_connection(
    settings: Settings, url: str, seconds: float, protocol: MakeProtocol = SessionProtocol
) -> Connection:
    """A session that is ready, after as many attempts as it takes within ``seconds``."""
    attempts = Attempts(settings, seconds)
    while True:
        try:
            return Connection(settings, url, attempts.deadline, protocol)
        except AttemptFailed as failed:
            settings.clock.sleep(attempts.delay(failed))


class Connection:
    """One ready session on one socket. Not thread-safe, but for :meth:`interrupt`."""

    def __init__(self, settings: Settings, url: str, deadline: Deadline, protocol: MakeProtocol) -> None:
        self._settings = settings
        self._now = settings.clock.now
        #: Held by whoever uses the socket; the keeper only takes it while it is free.
        self.lock = threading.Lock()
        self.protocol = protocol(settings, url)
        until = deadline.within(settings.timeouts.connect)
        try:
            self._socket = connect(settings, until)
        except OSError as error:
            raise from_os_error(error, settings.address, absent=True) from None
        self._channel = Channel(self._socket)
        #: The end of the exchange that is under way.
        self._until: Deadline | None = None
        self._stop = threading.Event()
        keeper = threading.Thread(
            target=_keep, args=(weakref.ref(self), self._stop), name=f"offboard-keeper-{settings.address}", daemon=True
        )
        try:
            self._upgrade(until)
            self._handshake(deadline)
            share(self.protocol, settings, lambda: (self._socket.getsockname(), self._socket.getpeername()))
            self._channel = quickest(self._socket)  # from here on the keeper sees to it that waits end
            keeper.start()
        except BaseException:  # Ctrl-C, too, which may come when the keeper runs already
            self._stop.set()
            self._socket.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether another exchange may be begun."""
        return self.protocol.state == "ready"

    def infer(self, observation: Mapping[str, Any]) -> tuple[Sequence[Row] | None, Step]:
        """One observation and its answer; any doubt about the answer closes the socket."""
        return self._exchange(self.protocol.ask, observation, self.protocol.answer)

    def control(self, kind: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One control frame and its answer."""
        return self._exchange(
            partial(self.protocol.ask_control, kind), params, partial(self.protocol.answer_control, kind)
        )

    def check(self) -> None:
        """Take what has arrived. Raises why no exchange can be begun."""
        with self.lock:
            try:
                self.drain(self.brief())
            except Passed:
                self.protocol.abandon()
            try:
                self.protocol.check()
            finally:
                self._end_if_lost()

    def close(self) -> None:
        """Say goodbye, wait for the server's answer within the close timeout, close."""
        self._stop.set()
        deadline = self.brief()
        with self.lock, contextlib.suppress(OSError):
            self._channel = Channel(self._socket)
            self.protocol.close()
            self._flush(deadline)
            while not self.protocol.ended:
                self._receive(deadline)
        self._socket.close()

    def interrupt(self) -> None:
        """End an exchange that another thread is in: it sees its connection lost."""
        self._stop.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def drain(self, deadline: Deadline) -> bool:
        """Take what has arrived, answer pings, without waiting for more. False once the socket has ended.

        Raises Passed if the server does not take the answers.
        """
        protocol = self.protocol
        try:
            while (count := self._channel.take(protocol.websocket.room())) is not None:
                protocol.received(count)
                self._flush(deadline)
                awaited = protocol.state == "busy" and protocol.answered
                if awaited or protocol.ended or protocol.unasked:
                    return False
                if deadline.rest() <= 0:
                    break
            return True
        except Passed:  # which is an OSError, too, and says nothing about the socket
            raise
        except OSError:
            self.protocol.feed(b"")
            return False

    def brief(self) -> Deadline:
        """For what nobody waits for, or not for long."""
        return Deadline(self._now, self._settings.timeouts.close)

    @property
    def overdue(self) -> bool:
        """Whether an exchange is under way that should have ended."""
        until = self._until
        return until is not None and until.rest() <= 0

    # -- inside ----------------------------------------------------------------------------------------
    def _upgrade(self, until: Deadline) -> None:
        try:
            self._flush(until)
            while not self.protocol.upgraded:
                self._receive(until)
        except OSError as error:
            raise from_os_error(error, self._settings.address, absent=not self.protocol.upgraded) from None

    def _handshake(self, deadline: Deadline) -> None:
        until = deadline.within(self._settings.timeouts.status)
        while not isinstance(frame := self.protocol.handshake(), Ready):
            if frame is not None:
                self._settings.report(frame)
                until = deadline.within(self._settings.timeouts.status)
                continue
            try:
                self._receive(until)
            except Passed:
                raise self.protocol.unready(deadline) from None
            except OSError as error:
                raise from_os_error(error, self._settings.address) from None

    def _exchange(self, ask: Callable[[Any], Turns], what: Any, answer: Callable[[], Any]) -> Any:
        deadline = Deadline(self._now, self._settings.timeouts.infer)
        if not (self.lock.acquire(False) or self.lock.acquire(timeout=self._settings.timeouts.infer)):
            self.interrupt()
            raise late(self._settings)
        self._until = deadline
        try:
            return self._talk(ask, what, answer, deadline)
        except Passed:
            self.protocol.abandon()
            raise late(self._settings) from None
        finally:
            # Whatever ends an exchange half way, Ctrl-C included, leaves an answer that belongs to nobody.
            self._until = None
            if self.protocol.state != "ready":
                self._end_if_lost()
            self.lock.release()

    def _end_if_lost(self) -> None:
        if not self.alive:
            self._stop.set()
            self._socket.close()

    def _talk(self, ask: Callable[[Any], Turns], what: Any, answer: Callable[[], Any], deadline: Deadline) -> Any:
        websocket = self.protocol.websocket
        if not self._channel.idle() or not websocket.between:
            self._settle(deadline)
        message = ask(what)
        try:
            if websocket.speaks:
                self._flush(deadline)
            for turn in message.turns:
                self._send(turn, deadline)
            while not self.protocol.answered:
                self._receive(deadline)
        except (Passed, ConnectionLost):
            raise
        except OSError as error:
            # The server may have said why it closes before the socket broke.
            self.drain(deadline)
            if not self.protocol.answered:
                raise ConnectionLost(f"the connection to {self._settings.address} broke: {error}") from None
        found = answer()
        deadline.left()  # what is read too late is not played
        return found

    def _settle(self, deadline: Deadline) -> None:
        """Take what arrived since the last exchange, or has begun to: it answers nothing that will be asked now."""
        self.drain(deadline)
        try:
            while not self.protocol.between:
                self._receive(deadline)
        except Passed:
            raise
        except OSError:
            self.protocol.feed(b"")

    def _send(self, pieces: list[Piece], deadline: Deadline) -> None:
        channel = self._channel
        if len(pieces) > 1:
            pieces = channel.gathered(pieces)
        left = sum(map(len, pieces))
        while left > (sent := channel.send(pieces, self._wait(deadline, mid_message=True))):
            left -= sent
            while sent >= len(pieces[0]):
                sent -= len(pieces.pop(0))
            if sent:
                pieces[0] = memoryview(pieces[0])[sent:]

    def _receive(self, deadline: Deadline) -> None:
        """Wait for bytes and take them in. Raises Passed; ConnectionLost if the server is silent for too long."""
        websocket, count = self.protocol.websocket, None
        while count is None:
            wait = self._wait(deadline)
            if websocket.speaks:
                self._flush(deadline)
            count = self._channel.receive(websocket.room(), wait)
        if not count:
            deadline.left()  # it was ended here, because it was late
        self.protocol.received(count)
        if websocket.speaks:
            self._flush(deadline)

    def _wait(self, deadline: Deadline, mid_message: bool = False) -> float:
        """For how long the socket may be waited for. Raises Passed, or what :meth:`SessionProtocol.tend` raises."""
        wait = min(deadline.end, self.protocol.pulse.due) - self._now()
        return wait if wait > 0 else deadline.left(self.protocol.tend(mid_message))

    def _flush(self, deadline: Deadline) -> None:
        if out := self.protocol.outgoing():
            self._send([out], deadline)


def _keep(reference: weakref.ref[Connection], stop: threading.Event) -> None:
    """Answers pings and notices a closed socket while the session idles; ends with the session.

    It never waits for a session in use: an exchange answers pings itself. One that should have ended is ended: signals
    that come all the time may keep it from looking at the clock.
    """
    while not stop.wait(_KEEP_EVERY_S):
        connection = reference()
        if connection is None:
            return
        if connection.lock.acquire(blocking=False):
            try:
                if stop.is_set() or not connection.drain(connection.brief()):
                    return
            except Passed:
                return  # whoever asks next finds out more
            finally:
                connection.lock.release()
        elif connection.overdue:
            connection.interrupt()
        del connection
