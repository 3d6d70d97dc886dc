"""The same client for asyncio programs. Every name, error and rule is that of :mod:`offboard_client.session.client`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

from ..errors import Busy
from ..protocol import AttemptFailed, Attempts, BaseClient, Clock, Deadline, Settings
from ..wire import CONFIGURE, Row
from .http import ask_models, ask_status
from .state import SessionFacts, changed
from .streams import Connection, open_connection

Result = TypeVar("Result")


class AsyncInferenceClient(BaseClient["AsyncInferenceSession"]):
    """A server of policies, for asyncio. Arguments and errors are those of InferenceClient."""

    _clock = Clock(sleep=asyncio.sleep)

    def new_session(self, model_id: str | None = None, **overrides: Any) -> AsyncInferenceSession:
        """A session that is ready once it is awaited, or entered by ``async with``; see InferenceClient.new_session."""
        session = AsyncInferenceSession(self._settings, model_id, overrides)
        self._sessions.add(session)
        return session

    async def list_models(self) -> list[str]:
        """The ids of the models that a session may name, oldest first."""
        return await self._waiting(ask_models)

    async def server_status(self) -> dict[str, Any]:
        """What the server is doing; see InferenceClient.server_status."""
        return await self._waiting(ask_status)

    async def close(self) -> None:
        """Close every session that is still open."""
        await asyncio.gather(*(session.close() for session in list(self._sessions)))

    async def _waiting(self, ask: Callable[[Settings, Deadline], Result]) -> Result:
        attempts = Attempts(self._settings, self._settings.timeouts.open)
        while True:
            try:
                return await asyncio.to_thread(ask, self._settings, attempts.deadline)
            except AttemptFailed as failed:
                await self._settings.clock.sleep(attempts.delay(failed))

    async def __aenter__(self) -> AsyncInferenceClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()


class AsyncInferenceSession(SessionFacts):
    """One robot's session with one model; made by :meth:`AsyncInferenceClient.new_session`.

    One task at a time: a call while another is under way raises Busy. Cancelling a call closes the socket:
    its answer would belong to nobody. The next call then opens a new session, a new episode.
    """

    def __init__(self, settings: Settings, model_id: str | None, overrides: Mapping[str, Any]) -> None:
        super().__init__(settings, model_id, overrides)
        self._taken = False
        self._connection: Connection | None = None

    async def infer(self, observation: Mapping[str, Any]) -> Sequence[Row] | None:
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
        await self._using(lambda connection: connection.control("reset"))

    async def ping(self) -> dict[str, Any]:
        """Ask whether the model answers, not only the socket; what the server says about it."""
        return await self._using(lambda connection: connection.control("ping"))

    async def stats(self) -> dict[str, Any]:
        """The server's counts and timings of this session."""
        return await self._using(lambda connection: connection.control("stats"))

    async def configure(self, /, **options: Any) -> dict[str, Any]:
        """Change options of this session from the next inference on; see InferenceSession.configure."""
        return changed(await self.call(CONFIGURE, **options))

    async def call(self, name: str, /, **params: Any) -> dict[str, Any]:
        """Ask the model for something beside inference; see InferenceSession.call."""

        async def ask(connection: Connection) -> dict[str, Any]:
            with self._asking(name, params, connection.protocol):
                return await connection.control(name, params)

        return await self._using(ask)

    async def close(self) -> None:
        """End the session. A call that another task is in raises ConnectionLost. Never raises; may be repeated."""
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _using(self, call: Callable[[Connection], Awaitable[Result]]) -> Result:
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

    async def _open(self) -> Connection:
        timeouts = self._settings.timeouts
        seconds = timeouts.open if self._protocol is None else timeouts.reopen
        connection = await open_connection(self._settings, self._url(), seconds)
        try:
            self._adopt(connection.protocol)
            if self._images.wants_trip:
                await connection.control("ping")
            if self._configured:
                with self._repeating(connection.protocol):
                    await connection.control(CONFIGURE, self._configured)
            self._check_not_closed()
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
