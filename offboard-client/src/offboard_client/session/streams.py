"""A session on asyncio's streams; the counterpart of the blocking one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from ..errors import ConnectionLost
from ..protocol import AttemptFailed, Attempts, Deadline, Passed, SessionProtocol, Settings, Turns, from_os_error, late
from ..wire import Ready
from .shared import LONGEST, share
from .sockets import tune

Result = TypeVar("Result")
# Taking in so many bytes of the smallest frames takes 60 ms; after each read the others on the loop have a turn.
_READ_BYTES = 8192


async def open_connection(settings: Settings, url: str, seconds: float) -> Connection:
    """A session that is ready, after as many attempts as it takes within ``seconds``."""
    attempts = Attempts(settings, seconds)
    while True:
        connection = Connection(settings, url)
        try:
            await connection.open(attempts.deadline)
            return connection
        except AttemptFailed as failed:
            connection.abort()
            await settings.clock.sleep(attempts.delay(failed))
        except BaseException:
            connection.abort()
            raise


class Connection:
    """One session on asyncio's streams. A task reads, so that pings are answered while nobody asks."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._settings = settings
        self._now = settings.clock.now
        self._arrived = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._refused: AttemptFailed | None = None
        self.protocol = SessionProtocol(settings, url)

    async def open(self, deadline: Deadline) -> None:
        """Connect, upgrade and wait until the session is ready. Raises AttemptFailed."""
        address = self._settings.address
        until = deadline.within(self._settings.timeouts.connect)
        try:
            reader, self._writer = await _connect(self._settings, until)
            self._task = asyncio.create_task(self._keep_reading(reader))
            self._flush()
            await self._until(lambda: self.protocol.upgraded, until)
        except OSError as error:
            raise from_os_error(error, address, absent=True) from None
        await self._handshake(deadline)
        if self.protocol.memory is not None:
            known = self._writer.get_extra_info
            sharing = asyncio.to_thread(
                share, self.protocol, self._settings, lambda: (known("sockname"), known("peername"))
            )
            with contextlib.suppress(Passed):  # the loop's threads may all have other work, without an end
                await _within(Deadline(self._now, LONGEST), sharing)

    async def _handshake(self, deadline: Deadline) -> None:
        until = deadline.within(self._settings.timeouts.status)
        while not isinstance(frame := self.protocol.handshake(), Ready):
            if frame is not None:
                self._settings.report(frame)
                until = deadline.within(self._settings.timeouts.status)
                continue
            try:
                await self._until(lambda: self.protocol.answered, until)
            except Passed:
                raise self.protocol.unready(deadline) from None

    async def exchange(self, ask: Callable[[], Turns], answer: Callable[[], Result]) -> Result:
        """Send what ``ask`` gives and wait for the answer within the infer timeout."""
        deadline = Deadline(self._now, self._settings.timeouts.infer)
        try:
            # What has arrived since the last exchange, or has begun to, answers nothing that will be asked now. It
            # takes the loop three turns to notice it, to read it, and to wake the task that feeds the protocol.
            for _ in range(3):
                await asyncio.sleep(0)
            await self._until(lambda: self.protocol.between, deadline)
            for turn in ask().turns:
                self._connected.write(b"".join(turn))  # a copy: the loop keeps what the socket does not take at once
            await self._until(lambda: self.protocol.answered, deadline)
            found = answer()
            deadline.left()  # what is read too late is not played
            return found
        except Passed:
            self.protocol.abandon()
            raise late(self._settings) from None

    async def control(self, kind: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One control frame and its answer."""
        return await self.exchange(
            lambda: self.protocol.ask_control(kind, params), lambda: self.protocol.answer_control(kind)
        )

    async def close(self) -> None:
        """Say goodbye, wait for the server's answer within the close timeout, close."""
        deadline = Deadline(self._now, self._settings.timeouts.close)
        with contextlib.suppress(OSError):
            self.protocol.close()
            self._flush()
            await self._until(lambda: self.protocol.ended, deadline)
        self.abort()
        with contextlib.suppress(OSError):
            await _within(deadline, self._connected.wait_closed())

    def abort(self) -> None:
        """Close the socket at once."""
        if self._task is not None:
            self._task.cancel()
        if self._writer is not None:
            self._writer.transport.abort()

    # -- inside ----------------------------------------------------------------------------------------
    @property
    def _connected(self) -> asyncio.StreamWriter:
        if self._writer is None:
            raise ConnectionLost(f"the connection to {self._settings.address} is not open")
        return self._writer

    async def _until(self, condition: Callable[[], bool], deadline: Deadline) -> None:
        """Raises Passed, AttemptFailed if the upgrade was refused, ConnectionLost if the server is silent for too long.

        An alarm ends each wait; ``asyncio.wait_for`` may swallow a cancellation until Python 3.12.
        """
        alarm = asyncio.get_running_loop().call_later
        while not condition():
            if self._refused is not None:
                raise self._refused
            self._arrived.clear()
            timer = alarm(deadline.left(self.protocol.tend()), self._arrived.set)
            self._flush()
            try:
                await self._arrived.wait()
            finally:
                timer.cancel()

    async def _keep_reading(self, reader: asyncio.StreamReader) -> None:
        try:
            # Frames that nobody asked for end the session; what follows them stays with the sender.
            while not self.protocol.unasked and await self._read(reader):
                pass
        except AttemptFailed as failed:
            self._refused = failed
        except OSError as error:
            if self.protocol.upgraded:
                self.protocol.feed(b"")
            else:
                self._refused = from_os_error(error, self._settings.address, absent=True)
        finally:
            self._arrived.set()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        data = await reader.read(_READ_BYTES)
        self.protocol.feed(data)
        self._arrived.set()
        if self._flush():
            await self._connected.drain()  # no more is read, and answered, than the server reads of the answers
        await asyncio.sleep(0)
        return data

    def _flush(self) -> bool:
        data = self.protocol.outgoing()
        if data:
            self._connected.write(data)
        return bool(data)


async def _within(deadline: Deadline, work: Awaitable[Result]) -> Result:
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=deadline.left())
    finally:
        if not task.done():
            task.cancel()
    if not task.done():
        raise Passed
    return task.result()


async def _connect(settings: Settings, deadline: Deadline) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The first of the host's addresses that answers; the last one's error if none does.

    asyncio would try them all as well, and then report them as one error that no longer says of which kind.
    """
    address, tls = settings.address, settings.tls
    loop = asyncio.get_running_loop()
    found = await _within(deadline, loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM))
    failed = OSError("the name has no address")
    for i, (family, kind, protocol, _, where) in enumerate(found):
        raw = socket.socket(family, kind, protocol)
        raw.setblocking(False)
        try:
            # No address may use up the time of those after it.
            share = Deadline(settings.clock.now, deadline.left() / (len(found) - i))
            await _within(share, loop.sock_connect(raw, where))
        except OSError as error:
            raw.close()
            failed = error
        except BaseException:
            raw.close()
            raise
        else:
            tune(raw)
            name = address.name if tls else None
            try:
                return await _within(deadline, asyncio.open_connection(sock=raw, ssl=tls, server_hostname=name))
            except BaseException:  # in time for the socket, and too late for its streams
                raw.close()
                raise
    raise failed
