"""Episodes whose chunks overlap: the policy is asked while LeRobot still plays what it answered before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from offboard_client.errors import InferTimeout, InvalidAction
from offboard_client.play import LOSSES, HoldStill, PolicySession, PolicyStream

from .episode import Episode, lost
from .wiring import Wiring


class StreamedEpisode(Episode):
    """The clock is LeRobot's: it goes on by one action when one is played, and stands while LeRobot's loop waits."""

    def __init__(self, session: PolicySession, wiring: Wiring, strategy: str, timeout: float) -> None:
        """Raises ConfigurationError for a strategy that this model cannot be played with."""
        super().__init__(session, wiring, None)
        self._stream = PolicyStream(session, strategy)
        self._timeout = timeout
        self._tick = 0

    def reset(self) -> None:
        """See :class:`Episode`."""
        super().reset()
        self._stream.interrupt("LeRobot begins another episode")

    def close(self) -> None:
        """End the stream's thread; the session is ended by whoever has opened it."""
        self._stream.close(session=False)

    @property
    def wants(self) -> bool:
        """See :class:`Episode`."""
        return self._held is None

    def ask(self, observe: Callable[[], Mapping[str, Any]]) -> None:
        """See :class:`Episode`. It waits where nothing is left to play, so long as one answer may take."""
        if self._lost is not None:
            raise self._lost
        if self._begun != self._episode:
            self._begin()
            self._begun, self._tick = self._episode, 0
        now = self._tick * self._stream.action_period
        if self._stream.wants(now):
            self._used = True
            self._stream.observe(observe(), now)
        step = self._stream.next_action(now)
        if isinstance(step, HoldStill) and step.failure is None and not step.done:
            if not self._stream.wait(self._timeout):
                raise lost(InferTimeout(f"the policy has not answered within {self._timeout:g} s"))
            step = self._stream.next_action(now)
        why = self._stream.why(now)
        if why is not None and why.failure is not None:
            if isinstance(why.failure, LOSSES):
                self._lost = lost(why.failure)
                raise self._lost from why.failure
            raise why.failure
        if isinstance(step, HoldStill):
            raise InvalidAction(f"{step.reason}, and LeRobot has nothing left to play")
        self._tick += 1
        self._queue.append(self._wiring.actions([{"action": step.action}])[0])

    def _forget(self) -> None:
        self._stream.reset()
