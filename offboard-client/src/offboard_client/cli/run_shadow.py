"""``offboard run … --shadow SERVER``: a second model that is asked the same and drives nothing."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from ..errors import OffboardError
from ..play import Agreement, Answer, Bounded, EpisodeInfo, Outcome, PolicySession, Shrinking, Tick
from ..wire import CONTEXT

log = logging.getLogger(__name__)

#: Answers that may wait while it is busy: none is worth much when the next one is there.
_WAITING = 1
#: Seconds to open its session, and for an answer; the run waits for none of it.
_OPENING, _ANSWERING = 60.0, 60.0


@contextmanager
def shadowed(server: str | None) -> Generator[tuple[Bounded, Agreement] | None, None, None]:
    """What asks ``server`` the same on a thread of its own, and how far it agrees so far; None for no server."""
    if server is None:
        yield None
        return
    shadow = Shadow(server)
    bounded = _Answers(shadow, _WAITING, f"the shadow {server.rpartition('@')[2]}")
    try:
        yield bounded, shadow.agreement
    finally:
        shadow.close()
        bounded.close()


class _Answers(Bounded):
    """Only what was answered, so that commands do not take its place in the queue."""

    def ticked(self, tick: Tick, /) -> None:
        """Nothing."""


class Shadow:
    """Watches a run: asks another server what the policy was asked, and compares what both answered.

    What fails is raised to whoever runs it; a session that cannot be opened is not tried again.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._session: PolicySession | None = None
        self._gone = self._closed = False
        self._fresh = True
        self.agreement = Agreement()
        self._number = 0

    def started(self, episode: EpisodeInfo, /) -> None:
        """An episode of its own, too."""
        self._fresh = False

    def answered(self, answer: Answer, /) -> None:
        """Ask it the same. Raises what the session raises."""
        if answer.failure is not None or self._gone or self._closed:
            return
        try:
            self._ask(answer)
        except OffboardError:
            if not self._closed:  # else it was closed in the midst of it
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
        rows = session.infer(sent)
        self._number += 1
        self.agreement.add(self._number - 1, answer.rows, rows)

    def _open(self) -> PolicySession:
        from ..session import InferenceClient

        client = InferenceClient(
            self._server, prepare=Shrinking() if find_spec("PIL") is not None else None, infer_timeout=_ANSWERING,
            connect_deadline=_OPENING, wait_for_server=5.0, on_status=lambda status: log.debug("%s", status),
        )  # fmt: skip
        session = client.new_session()
        self._session = session
        if self._closed:
            session.close()
        return session
