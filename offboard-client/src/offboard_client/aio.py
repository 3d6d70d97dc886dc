"""The same client for asyncio programs. Every name, error and rule is that of :mod:`offboard_client.client`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import weakref
from collections.abc import Awaitable, Callable, Generator, Mapping
from types import TracebackType
from typing import Any, Literal, TypeVar

from ._attempts import AttemptFailed, Attempts, from_os_error, from_silence
from ._http import list_models
from ._protocol import SessionProtocol
from ._rows import Row
from ._session import SessionFacts
from ._settings import Clock, OnStatus, Settings, Timeouts, settings
from .errors import Busy, ConnectionLost, InferTimeout
from .messages import Ready

Result = TypeVar("Result")
_READ_BYTES = 65536


class AsyncInferenceClient:
    """A server of policies, for asyncio. Arguments and errors are those of InferenceClient."""

    def __init__(
        self,
        host: str,
        port: int = 8000,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        on_status: OnStatus | None = None,
        connect_timeout: float = 10.0,
        connect_deadline: float = 900.0,
        status_timeout: float = 30.0,
        infer_timeout: float = 180.0,
        reconnect_deadline: float = 45.0,
        ssl: ssl.SSLContext | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings(
            host,
            port,
            token=token,
            headers=headers,
            params=params,
            on_status=on_status,
            timeouts=Timeouts(connect_timeout, connect_deadline, status_timeout, infer_timeout, reconnect_deadline),
            tls=ssl,
            clock=clock or Clock(sleep=asyncio.sleep),
        )
        self._sessions: weakref.WeakSet[AsyncInferenceSession] = weakref.WeakSet()

    def new_session(self, model_id: str | None = None, **overrides: Any) -> AsyncInferenceSession:
        """A session that is ready once it is awaited, or entered by ``async with``; see InferenceClient.new_session."""
        session = AsyncInferenceSession(self._settings, model_id, overrides)
        self._sessions.add(session)
        return session

    async def list_models(self) -> list[str]:
        """The ids of the models that a session may name, oldest first."""
        return await asyncio.to_thread(list_models, self._settings)

    async def close(self) -> None:
        """Close every session that is still open."""
        await asyncio.gather(*(session.close() for session in list(self._sessions)))

    async def __aenter__(self) -> AsyncInferenceClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncInferenceClient({str(self._settings.address)!r})"


class AsyncInferenceSession(SessionFacts):
    """One robot's session with one model; made by :meth:`AsyncInferenceClient.new_session`.

    One task at a time: a call while another is under way raises Busy. Cancelling a call closes the socket:
    its answer would belong to nobody. The next call then opens a new session, a new episode.
    """

    def __init__(self, settings: Settings, model_id: str | None, overrides: Mapping[str, Any]) -> None:
        super().__init__(settings, model_id, overrides)
        self._taken = False
        self._connection: _Connection | None = None

    async def infer(self, observation: Mapping[str, Any]) -> list[Row] | None:
        """The action chunk for an observation; see InferenceSession.infer."""
        found, step = await self._using(
            lambda connection: connection.exchange(
                lambda: connection.protocol.ask(observation), connection.protocol.answer
            )
        )
        self._timing.record(step)
        return found

    async def reset(self) -> None:
        """Start a new episode: the policy forgets the last one."""
        await self._control("reset")

    async def ping(self) -> dict[str, Any]:
        """Ask whether the model answers, not only the socket; what the server says about it."""
        return await self._control("ping")

    async def stats(self) -> dict[str, Any]:
        """The server's counts and timings of this session."""
        return await self._control("stats")

    async def close(self) -> None:
        """End the session. A call that another task is in raises ConnectionLost. Never raises; may be repeated."""
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _control(self, kind: Literal["reset", "ping", "stats"]) -> dict[str, Any]:
        return await self._using(
            lambda connection: connection.exchange(
                lambda: connection.protocol.ask_control(kind), lambda: connection.protocol.answer_control(kind)
            )
        )

    async def _using(self, call: Callable[[_Connection], Awaitable[Result]]) -> Result:
        if self._taken:
            raise Busy("another task is using this session: one exchange at a time, or a session for each task")
        self._taken = True
        try:
            self._check_not_closed()
            connection = self._connection or await self._open()
            try:
                return await call(connection)
            finally:
                if connection.protocol.state != "ready":
                    self._connection = None
                    connection.abort()
        finally:
            self._taken = False

    async def _open(self) -> _Connection:
        timeouts = self._settings.timeouts
        seconds = timeouts.open if self._protocol is None else timeouts.reopen
        connection = await _open_connection(self._settings, self._url(), seconds)
        try:
            self._check_not_closed()
            self._adopt(connection.protocol)
        except BaseException:
            connection.abort()
            raise
        self._connection = connection
        return connection

    async def _opened_once(self) -> AsyncInferenceSession:
        if self._protocol is None:
            await self._open()
        return self

    def __await__(self) -> Generator[Any, None, AsyncInferenceSession]:
        return self._opened_once().__await__()

    async def __aenter__(self) -> AsyncInferenceSession:
        return await self._opened_once()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()


async def _open_connection(settings: Settings, url: str, seconds: float) -> _Connection:
    attempts = Attempts(settings.clock, seconds, settings.report)
    while True:
        connection = _Connection(settings, url)
        try:
            await connection.open(attempts.deadline)
            return connection
        except AttemptFailed as failed:
            connection.abort()
            await settings.clock.sleep(attempts.delay(failed))
        except BaseException:
            connection.abort()
            raise


class _Connection:
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
        writer = self._connected
        try:
            writer.write(ask())
            await self._before(self._now() + self._settings.timeouts.infer, self._answered(writer))
        except TimeoutError:
            raise InferTimeout(
                f"{self._settings.address} did not answer within {self._settings.timeouts.infer:g} s. Its answer will "
                "not be used: the session is closed, and the next call opens a new one"
            ) from None
        except OSError as error:
            raise ConnectionLost(f"the connection to {self._settings.address} broke: {error}") from None
        return answer()

    async def close(self) -> None:
        """Say goodbye, wait for the server's answer within the close timeout, close."""
        if self._task is not None and self._writer is not None:
            self.protocol.close()
            self._flush()
            await asyncio.wait({self._task}, timeout=self._settings.timeouts.close)
        self.abort()
        if self._writer is not None:
            with contextlib.suppress(OSError):
                await self._before(self._now() + self._settings.timeouts.close, self._writer.wait_closed())

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

    async def _answered(self, writer: asyncio.StreamWriter) -> None:
        await writer.drain()
        while not self.protocol.answered:
            self._arrived.clear()
            await self._arrived.wait()

    async def _keep_reading(self, reader: asyncio.StreamReader) -> None:
        try:
            while await self._read(reader):
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
            return await asyncio.open_connection(
                where[0], where[1], ssl=tls, server_hostname=address.host if tls else None
            )
        except OSError as error:
            failed = error
    raise failed
