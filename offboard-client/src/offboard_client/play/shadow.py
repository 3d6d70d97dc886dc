"""A second model that is asked the same as the policy, and drives nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from ..errors import OffboardError
from ..wire import CONTEXT, Status
from .agreement import Agreement
from .bounded import Bounded
from .observer import Answer, EpisodeInfo, Outcome, ShadowAnswer, Tick
from .policy import PolicySession
from .remote import Shrinking

log = logging.getLogger(__name__)

#: Answers that may wait while it is busy: none is worth much when the next one is there.
_WAITING = 1
#: Seconds to open its session, and for an answer; the run waits for none of it.
_OPENING, _ANSWERING = 60.0, 60.0


class _Answers(Bounded):
    """Only what was answered, so that commands do not take its place in the queue."""

    def ticked(self, tick: Tick, /) -> None:
        """Nothing."""


class Shadow:
    """Watches a run: asks another server what the policy was asked, and compares what both answered.

    :meth:`watching` gives the driver what does that without the arm waiting for it. What fails is raised to whoever
    runs it; a session that cannot be opened is not tried again. ``agreement``: how far both agree so far.
    """

    def __init__(
        self,
        server: str,
        told: Callable[[ShadowAnswer], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """``server``: as :class:`~offboard_client.InferenceClient` takes it. ``told``: hears what it answers.

        ``clock``: that of the driver.
        """
        self._server, self._clock = server, clock
        self._told: Callable[[ShadowAnswer], None] = told or _unheard
        #: Without a token.
        self.address = server.rpartition("@")[2]
        self._began = 0.0
        self._session: PolicySession | None = None
        self._gone = self._closed = False
        self._fresh = True
        self.agreement = Agreement()
        self._number = 0
        #: What its session waited for last.
        self._waited = ""

    @contextmanager
    def watching(self) -> Generator[Bounded, None, None]:
        """It on a thread of its own, as an observer of a run; what it has no time for it misses."""
        bounded = _Answers(self, _WAITING, f"the shadow {self.address}")
        try:
            yield bounded
        finally:
            self.close()
            bounded.close()
            if bounded.loss and bounded.loss.failure is None and self._session is None:
                bounded.loss.failed += 1
                bounded.loss.failure = f"its session was not open when the run ended{self._waited}"

    def started(self, episode: EpisodeInfo, /) -> None:
        """An episode of its own, too."""
        self._fresh = False

    def answered(self, answer: Answer, /) -> None:
        """Ask it the same. Raises what the session raises."""
        if answer.failure is not None or self._gone or self._closed:
            return
        self._began = self._clock()
        try:
            self._ask(answer)
        except OffboardError as error:
            if not self._closed or self._session is None:  # else it was closed in the midst of it
                self._tell(answer, None, {}, (error.code, error.text))
                raise

    def ticked(self, tick: Tick, /) -> None:
        """Nothing."""

    def ended(self, outcome: Outcome, /) -> None:
        """Nothing."""

    def close(self) -> None:
        """End its session, whatever it is in. Never raises."""
        self._closed = True
        if (session := self._session) is not None:
            session.close()

    def _ask(self, answer: Answer) -> None:
        session = self._session
        if session is None:
            self._gone = True
            session = self._open()
            self._gone, self._fresh = False, True
        if not self._fresh or answer.anew:
            session.reset()
            self._fresh = True
        takes: Any = session.metadata.get("context") or ()
        left = {key for name, key in CONTEXT.items() if name not in takes}
        sent = {name: value for name, value in answer.observation.items() if name not in left}
        self._began = self._clock()
        rows = session.infer(sent)
        self._tell(answer, rows, session.timing.last)
        self._number += 1
        self.agreement.add(self._number - 1, answer.rows, rows)

    def _tell(
        self, beside: Answer, rows: Any, timing: Mapping[str, float], failure: tuple[str, str] | None = None
    ) -> None:
        took = 1000 * (self._clock() - self._began)
        meta: Mapping[str, Any] = {} if self._session is None else self._session.metadata
        self._told(ShadowAnswer(beside, rows, self._began, took, timing, self.address, meta, failure, beside.anew))

    def _wait(self, status: Status) -> None:
        self._waited = f": {status}"
        log.debug("%s", status)

    def _open(self) -> PolicySession:
        from ..session import InferenceClient  # the socket, which a policy in this process does without

        client = InferenceClient(
            self._server, prepare=Shrinking() if find_spec("PIL") is not None else None, infer_timeout=_ANSWERING,
            connect_deadline=_OPENING, wait_for_server=5.0, on_status=self._wait,
        )  # fmt: skip
        session = client.new_session()
        self._session = session
        if self._closed:
            session.close()
        return session


def _unheard(answer: ShadowAnswer) -> None:
    """Nobody wants to know."""
