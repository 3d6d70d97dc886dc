"""A listener's clients have a session each, are let in as everybody is, and are answered before it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import pytest
from offboard_client.errors import ConfigurationError, OffboardError

from ..engine import PolicyService
from ..frontends import Admission, Listener
from ..server import InferenceServer
from ..types import Array, Chunk, InferContext, NoParams, Policy, Session

#: Seconds for what a test waits for: a bound for a test that has failed, not a measure of speed.
_PATIENCE = 120.0
#: Ports that are tried: whoever listens on this machine may take one that is free.
_TRIES = 5
#: Seconds in which a drain that waits for nobody has come back.
_SOON = 0.2
Ask = Callable[[], Mapping[str, Array]]


class _Counter(Session):
    """Adds to what it was told to answer how many observations it has seen."""

    def __init__(self, policy: _Counting) -> None:
        self._policy, self._seen = policy, 0

    def infer(self, inputs: Mapping[str, Any], context: InferContext) -> Chunk:
        self._policy.asked.set()
        assert self._policy.free.wait(_PATIENCE)
        self._seen += 1
        return Chunk({name: column + self._seen for name, column in self._policy.answer.items()})

    def close(self) -> None:
        self._policy.open -= 1


class _Counting(Policy[_Counter]):
    def __init__(self, answer: Mapping[str, Array]) -> None:
        self.answer, self.sessions, self.open = answer, 0, 0
        self.asked, self.free = threading.Event(), threading.Event()
        self.free.set()

    def new_session(self, params: NoParams) -> _Counter:
        self.sessions += 1
        self.open += 1
        return _Counter(self)


class _Watched(Listener):
    """Another listener, and how far it has got."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.draining, self.drained, self.closed = (threading.Event() for _ in range(3))

    async def start(self, service: PolicyService, admission: Admission, host: str, port: int) -> int:
        return await self._listener.start(service, admission, host, port)

    async def wait(self) -> None:
        await self._listener.wait()

    async def drain(self) -> None:
        draining = asyncio.ensure_future(self._listener.drain())
        self.draining.set()
        await draining
        self.drained.set()

    async def close(self) -> None:
        await self._listener.close()
        self.closed.set()


class ListenerLaws:
    """What robots, and the server, rely on. Say how a listener is made, and how a client of it speaks."""

    #: What the model answers, within what the protocol can say: the kit adds to it.
    answer: Mapping[str, Array] = {"target_joints": np.zeros((1, 7), np.float32)}

    def listener(self) -> Listener:
        """One that has not been started."""
        raise NotImplementedError("say by listener() how one is made")

    def client(self, host: str, port: int, token: str) -> AbstractContextManager[Ask]:
        """A client of its own: ``ask()`` sends an observation, and returns the columns that came back.

        ``token``: "" for none. What the server refuses is raised, as the OffboardError of its code.
        """
        raise NotImplementedError("say by client() how one speaks")

    def disturb(self, host: str, port: int) -> None:
        """Send what is none of this protocol, and what only begins like it."""
        raise NotImplementedError("say by disturb() what is none of this protocol")

    def serve(self, port: int = 0, **settings: Any) -> ListenerServer:
        """A server with the listener on ``port``; ``settings`` are InferenceServer's."""
        return ListenerServer(self, port, settings)

    def test_it_listens_where_it_says(self) -> None:
        """Port 0 is a free one; another server's port is an error when it starts; after the end it is free again."""
        with self.serve() as one, self.serve() as two:
            assert 0 < one.port != two.port > 0
            assert one.ask() == 1
            with pytest.raises(ConfigurationError), self.serve(one.port):
                pass
            assert one.ask() == 1
        for _ in range(_TRIES):
            with suppress(OSError, ConfigurationError), self.serve(one.port) as again:
                assert again.port == one.port
                assert again.ask() == 1
                return
            with self.serve() as one:  # another program has taken it meanwhile
                pass
        pytest.fail(f"a port is not free again after the end, of {_TRIES} none was")

    def test_each_client_has_a_session(self) -> None:
        """None sees another's."""
        with self.serve() as one, one.client() as a, one.client() as b:
            assert [a(), a(), b(), a(), b()] == [1, 2, 1, 3, 2]
            assert one.policy.sessions == 2

    def test_admission_is_asked(self) -> None:
        """A client without the server's token gets nothing, one too many neither; the model hears of none of them."""
        with self.serve(auth_token="secret", max_sessions=1) as one:
            for wrong in ("", "guess"):
                with pytest.raises(OffboardError) as refused:
                    one.ask(wrong)
                assert refused.value.code == "unauthorized"
            assert one.policy.sessions == 0
            with one.client("secret") as first:
                assert first() == 1
                with pytest.raises(OffboardError) as refused:
                    one.ask("secret")
                assert refused.value.code == "full"
                assert first() == 2

    def test_who_speaks_something_else_is_nobody_elses_trouble(self) -> None:
        """The sessions go on, and others may come."""
        with self.serve() as one, one.client() as a:
            assert a() == 1
            self.disturb(one.host, one.port)
            assert a() == 2
            assert one.ask() == 1

    def test_it_answers_before_it_ends(self) -> None:
        """Draining waits for the observation in flight; closing comes back, and ends every session."""
        with ThreadPoolExecutor() as others, ExitStack() as ending:
            one = ending.enter_context(self.serve())
            a, b = (ending.enter_context(one.client()) for _ in range(2))
            assert b() == 1
            one.policy.free.clear()
            one.policy.asked.clear()
            asked = others.submit(a)
            assert one.policy.asked.wait(_PATIENCE)
            ended = others.submit(one.server.stop)
            try:
                assert one.listener.draining.wait(_PATIENCE)
                assert not one.listener.drained.wait(_SOON), "drain came back before everybody was answered"
            finally:
                one.policy.free.set()
                ended.result(_PATIENCE)
            assert asked.result(_PATIENCE) == 1
            assert one.listener.drained.is_set()
            assert one.listener.closed.is_set(), "close did not come back within what a server waits for it"
            assert one.policy.open == 0


class ListenerServer(ExitStack):
    """A server that has a listener and a model which counts."""

    def __init__(self, laws: ListenerLaws, port: int, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self._laws, self.port, self.host = laws, port, ""
        self.listener = _Watched(laws.listener())
        self.policy = _Counting(laws.answer)
        self.server = InferenceServer(
            self.policy, port=0, frontends={}, listeners={"tested": (self.listener, port)}, **settings
        )

    def __enter__(self) -> ListenerServer:
        super().__enter__()
        self.enter_context(self.server)
        self.host, self.port = self.server.listeners.addresses["tested"]
        return self

    @contextmanager
    def client(self, token: str = "") -> Generator[Callable[[], int]]:
        """Its ``ask()`` returns how many observations its session has had."""
        with self._laws.client(self.host, self.port, token) as ask:

            def count() -> int:
                counts = [float(np.unique(column - self._laws.answer[name]).item()) for name, column in ask().items()]
                assert len(set(counts)) == 1, counts
                return int(counts[0])

            yield count

    def ask(self, token: str = "") -> int:
        """What a new client's session has had after its first observation."""
        with self.client(token) as ask:
            return ask()
