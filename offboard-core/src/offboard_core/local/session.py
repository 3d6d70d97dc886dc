"""A client's session without a server: protocol v1 on the engine, its frames handed over within this process.

An observation is a frame here as it is on a socket, translated and checked by the same code at both ends. So actions,
errors and limits are those of the same model served, to the bit; and whatever the robot writes into its arrays while
the policy works reaches nobody.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from functools import partial
from queue import SimpleQueue
from time import perf_counter
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

from offboard_client.errors import (
    BadMessage,
    BadObservation,
    Busy,
    ConnectionLost,
    InferTimeout,
    LoadFailed,
    ModelLost,
    OffboardError,
)
from offboard_client.protocol import Step, Timings
from offboard_client.wire import (
    CONFIGURE,
    SESSION_PATH,
    Row,
    Status,
    check_declared,
    check_sendable,
    checked_control,
    decode,
    encode,
    frame_error,
    read_control_answer,
    read_reply,
    rows,
)

from ..catalog import ModelSource
from ..engine import PolicyService, ServiceSession, ServiceTimeouts
from ..frontends import Scope
from ..frontends.v1 import V1
from .loop import run_loop

log = logging.getLogger(__name__)
T = TypeVar("T")

#: As a client of offboard's own would come.
_SCOPE: Scope = {"path": SESSION_PATH, "headers": []}
#: Seconds beyond the service's own limits, after which its event loop itself does not answer any more.
_GRACE = 30.0


class LocalSession:
    """One robot's session on a policy in this process, with the members of a client's session.

    One thread at a time: a call while another is under way raises Busy. After ModelLost, or a call that was
    interrupted, the next one opens a new session: a new episode.
    """

    def __init__(
        self,
        source: ModelSource,
        on_status: Callable[[Status], None],
        timeouts: ServiceTimeouts | None = None,
        params: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Loads the source's default model. ``on_status``: told what is waited for, by the thread that waits.

        ``params``: the session's, as text. Raises what opening a session on a server raises.
        """
        self._limits = timeouts or ServiceTimeouts()
        self._service = PolicyService({source.vendor: source}, self._limits)
        query = urlencode([("dialect", "offboard"), *params])
        self._connection = V1().connect({**_SCOPE, "query_string": query.encode()})
        self._on_status = on_status
        self._turn = threading.Lock()
        self._timing = Timings()
        self._session: ServiceSession | None = None
        #: The opening that began last.
        self._opening = object()
        #: Why the session is over: still to be told, and told.
        self._untold: OffboardError | None = None
        self._lost: OffboardError | None = None
        self._warnings: tuple[str, ...] = ()
        self._meta: Mapping[str, Any] = {}
        self.configured: dict[str, Any] = {}
        self._checked = self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=run_loop, args=(self._loop,), name="offboard-local", daemon=True)
        try:
            self._thread.start()
        except BaseException:  # Ctrl-C may come when it runs already: it ends then
            self._loop.call_soon_threadsafe(self._loop.stop)
            raise
        try:
            self._wait(self._service.start())
            self._open()
        except BaseException:  # Ctrl-C, too
            self.close()
            raise

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The handshake's ``meta``, as a server would send it."""
        return self._meta

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was odd about the first observation."""
        return self._warnings

    @property
    def timing(self) -> Timings:
        """Where the time of the steps went; ``network_ms`` is the way between two threads."""
        return self._timing

    def infer(self, observation: Mapping[str, Any]) -> Sequence[Row] | None:
        """See :meth:`offboard_client.InferenceSession.infer`."""
        with self._using() as session:
            asked = perf_counter()
            check_sendable(observation, self._meta, first=not self._checked)
            self._checked = True
            try:
                frame = encode(observation)
            except BadMessage as error:
                raise BadObservation(f"nothing was sent: {error.text}") from error
            encoded = perf_counter()
            reply = self._wait(session.infer(frame), self._limits.infer + _GRACE)
            arrived = perf_counter()
            answer = read_reply(_unless_error(decode(cast("bytes", reply))))
            self._warnings = self._warnings or answer.warnings
            found = rows(answer.result)
            self._timing.record(Step(encoded - asked, arrived - encoded, perf_counter() - arrived, answer.timing))
            return found

    def reset(self) -> None:
        """Start a new episode: the policy forgets the last one."""
        self._control("reset")

    def ping(self) -> dict[str, Any]:
        """Ask whether the model answers."""
        return self._control("ping")

    def stats(self) -> dict[str, Any]:
        """Counts and timings of this session."""
        return self._control("stats")

    def call(self, name: str, /, **params: Any) -> dict[str, Any]:
        """See :meth:`offboard_client.InferenceSession.call`."""
        check_declared(name, self._meta)
        return self._control(name, params)

    def configure(self, /, **options: Any) -> dict[str, Any]:
        """See :meth:`offboard_client.InferenceSession.configure`."""
        return cast("dict[str, Any]", self.call(CONFIGURE, **options)["changed"])

    def close(self) -> None:
        """End the session, unload the model. A call that another thread is in raises ConnectionLost.

        Never raises; Ctrl-C does, and what is waited for here then comes to its end without anybody waiting.
        """
        if self._closed:
            return
        self._closed = True
        ending = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        try:
            ending.result(self._limits.close + _GRACE)
        except Exception:
            log.exception("the policy could not be closed")
            ending.cancel()
        self._thread.join(_GRACE)

    def __enter__(self) -> LocalSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- inside -------------------------------------------------------------------------------------------------
    async def _end(self) -> None:
        try:
            await self._service.close()
        finally:
            self._loop.call_soon(self._loop.stop)  # which cancels what a call still waits for

    def _control(self, kind: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        with self._using() as session:
            return self._ask(session, kind, params)

    def _ask(self, session: ServiceSession, kind: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        frame = encode(checked_control(kind, params))
        reply = self._wait(self._connection.answer(frame, session), self._limits.infer + _GRACE)
        answer = read_control_answer(_unless_error(decode(cast("bytes", reply))), kind)
        if kind == CONFIGURE:  # as it was sent, whatever its caller has made of it since
            self.configured.update(decode(frame).get("params", {}))
        return answer

    @contextlib.contextmanager
    def _using(self) -> Generator[ServiceSession, None, None]:
        if not self._turn.acquire(blocking=False):
            raise Busy("another thread is using this session: one exchange at a time, or a session for each thread")
        try:
            if self._closed:
                raise ConnectionLost("this session was closed here: open another one")
            try:
                session = self._session
                if session is None or self._lost is not None:
                    session = self._open()
                if (untold := self._untold) is not None:
                    self._lost = untold
                    raise untold
                yield session
            except ModelLost as error:
                self._lost = error
                raise
            except OffboardError:
                raise
            except BaseException as error:  # Ctrl-C: what is under way answers nobody
                self._lost = ConnectionLost(f"the call before was given up: {type(error).__name__}")
                raise
        finally:
            self._turn.release()

    def _open(self) -> ServiceSession:
        """A session, ready; the one before is over. Raises what opening it raises."""
        told: SimpleQueue[Status | None] = SimpleQueue()
        session = self._wait(self._begin(told), told=told)
        if self._meta and session.meta["spec_hash"] != self._meta["spec_hash"]:
            raise LoadFailed("the model is another one than before it was lost: begin anew, and check what it asks for")
        if self.configured:
            self._ask(session, CONFIGURE, self.configured)
        self._meta, self._lost, self._checked, self._warnings = session.meta, None, False, ()
        return session

    async def _begin(self, told: SimpleQueue[Status | None]) -> ServiceSession:
        async def tell(status: Status) -> None:
            told.put(status)

        self._opening = mine = object()
        if (before := self._session) is not None:
            self._session = None
            before.close()
        session = await self._service.open(
            self._connection.model_id, self._connection.params, serializer=self._connection.serializer,
            holder="this process", on_status=tell, bridge=self._connection.bridge,
        )  # fmt: skip
        if self._opening is not mine:  # Ctrl-C came before anybody could cancel this one
            session.close()
            raise ConnectionLost("the call before was given up")
        # Here: it may be evicted, and whoever waits for it be interrupted, before that thread goes on.
        self._session, self._untold = session, None
        session.on_evict(partial(self._evicted, session))
        return session

    def _evicted(self, session: ServiceSession, error: OffboardError) -> None:
        if session is self._session:
            self._untold = error

    def _wait(
        self, work: Coroutine[Any, Any, T], limit: float | None = None, told: SimpleQueue[Status | None] | None = None
    ) -> T:
        """What it returns, done by the event loop. ``limit``: seconds; None where the work has limits of its own.

        ``told``: what it says meanwhile. That is told here, since the loop waits for nobody's display.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            if told is not None:
                future.add_done_callback(lambda _: told.put(None))
                for status in iter(told.get, None):
                    self._on_status(status)
            return future.result(limit)
        except concurrent.futures.CancelledError:
            raise ConnectionLost("this session was closed here while it was in a call") from None
        except concurrent.futures.TimeoutError:
            if limit is None or future.done():  # somebody's own
                raise
            self._lost = InferTimeout(f"nothing was heard of the policy for {limit:g} s, not even of its limit")
            raise self._lost from None
        finally:
            future.cancel()


def _unless_error(frame: Any) -> Any:
    """The frame. Raises the error that it carries."""
    if (error := frame_error(frame)) is not None:
        raise error
    return frame
