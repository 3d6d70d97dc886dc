"""A session on asyncio's streams; the counterpart of the blocking one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ._attempts import AttemptFailed, Attempts, from_os_error, from_silence
from ._protocol import SessionProtocol
from ._settings import Settings
from .errors import ConnectionLost, InferTimeout
from .messages import Ready

Result = TypeVar("Result")
_READ_BYTES = 65536


async def open_connection(settings: Settings, url: str, seconds: float) -> Connection:
    """A session that is ready, after as many attempts as it takes within ``seconds``."""
    attempts = Attempts(settings.clock, seconds, settings.report)
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
        self.protocol = SessionProtocol(settings, url)

    async def open(self, deadline: float) -> None:
        """Connect, upgrade and wait until the session is ready. Raises AttemptFailed."""
        address, timeouts = self._settings.address, self._settings.timeouts
        until = min(deadline, self._now() + timeouts.connect)
        try:
            reader, self._writer = await self._before(until, _connect(self._settings))
            raw: socket.socket = self._writer.get_extra_info("socket")
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._flush()
            while not self.protocol.upgraded:
                await self._before(until, self._read(reader))
        except OSError as error:
            raise from_os_error(error, address) from None
        await self._handshake(reader, deadline)
        self._task = asyncio.create_task(self._keep_reading(reader))

    async def _handshake(self, reader: asyncio.StreamReader, deadline: float) -> None:
        until = 0.0
        while not isinstance(frame := self.protocol.handshake(), Ready):
            if frame is not None:
                self._settings.report(frame)
            if frame is not None or not until:
                until = min(deadline, self._now() + self._settings.timeouts.status)
                continue
            try:
                await self._before(until, self._read(reader))
            except TimeoutError:
                raise from_silence("said nothing for too long", self._settings.address) from None
            except OSError as error:
                raise from_os_error(error, self._settings.address) from None

    async def exchange(self, ask: Callable[[], memoryview], answer: Callable[[], Result]) -> Result:
        """Send what ``ask`` gives and wait for the answer within the infer timeout."""
        # What has arrived since the last exchange answers nothing that will be asked now. It takes the loop
        # three turns to notice it, to read it, and to wake the task that feeds it to the protocol.
        for _ in range(3):
            await asyncio.sleep(0)
        self._connected.write(ask())
        try:
            answered = self._until(lambda: self.protocol.answered)
            await self._before(self._now() + self._settings.timeouts.infer, answered)
        except TimeoutError:
            raise InferTimeout(
                f"{self._settings.address} did not answer within {self._settings.timeouts.infer:g} s. Its answer will "
                "not be used: the session is closed, and the next call opens a new one"
            ) from None
        return answer()

    async def close(self) -> None:
        """Say goodbye, wait for the server's answer within the close timeout, close."""
        deadline = self._now() + self._settings.timeouts.close
        with contextlib.suppress(OSError):
            self.protocol.close()
            self._flush()
            await self._before(deadline, self._until(lambda: self.protocol.ended))
        self.abort()
        with contextlib.suppress(OSError):
            await self._before(deadline, self._connected.wait_closed())

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

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._arrived.clear()
            await self._arrived.wait()

    async def _keep_reading(self, reader: asyncio.StreamReader) -> None:
        try:
            # A frame that nobody asked for ends the session; what follows it stays with the sender.
            while not self.protocol.unasked and await self._read(reader):
                self._arrived.set()
        except OSError:
            self.protocol.feed(b"")
        finally:
            self._arrived.set()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        data = await reader.read(_READ_BYTES)
        self.protocol.feed(data)
        self._flush()
        return data

    def _flush(self) -> None:
        data = self.protocol.outgoing()
        if data:
            self._connected.write(data)

    async def _before(self, deadline: float, work: Awaitable[Result]) -> Result:
        try:
            return await asyncio.wait_for(work, max(0.0, deadline - self._now()))
        except asyncio.TimeoutError:  # a class of its own in Python 3.10
            raise TimeoutError from None


async def _connect(settings: Settings) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The first of the host's addresses that answers; the last one's error if none does.

    asyncio would try them all as well, and then report them as one error that no longer says of which kind.
    """
    address, tls = settings.address, settings.tls
    found = await asyncio.get_running_loop().getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    failed: OSError = OSError(f"{address.host} has no address")
    for _, _, _, _, where in found:
        try:
            name = address.host if tls else None
            return await asyncio.open_connection(str(where[0]), address.port, ssl=tls, server_hostname=name)
        except OSError as error:
            failed = error
    raise failed
