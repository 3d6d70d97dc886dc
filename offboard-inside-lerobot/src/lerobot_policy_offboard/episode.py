"""One robot's episodes at a server: what is left of its chunk, and what became of it where an answer did not come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from offboard_client.errors import ConnectionLost, Idle, InvalidAction, OffboardError
from offboard_client.play import LOSSES, PolicySession

from .wiring import Array, Wiring


class Episode:
    """One session. :meth:`reset` may be called by any thread, the rest by one at a time."""

    def __init__(self, session: PolicySession, wiring: Wiring, steps: int | None) -> None:
        """``steps``: how many of a chunk are played; None: all."""
        self._session, self._wiring, self._steps = session, wiring, steps
        self._queue: deque[Array] = deque()
        self._held: Array | None = None
        self._lost: OffboardError | None = None
        # Which episode LeRobot is in, and which the server.
        self._episode = self._begun = 0
        self._used = False

    @property
    def wants(self) -> bool:
        """Whether there is nothing left to play."""
        return not self._queue and self._held is None

    def reset(self) -> None:
        """Another episode: the policy is told with its first observation."""
        self._episode += 1
        self._queue.clear()
        self._held = self._lost = None

    def ask(self, observe: Callable[[], Mapping[str, Any]]) -> None:
        """Have what the policy answers played. Raises as :meth:`chunk`."""
        self._queue.extend(self.chunk(observe())[: self._steps])

    def close(self) -> None:
        """Nothing; the session is ended by whoever has opened it."""

    def hold(self, where: Array) -> None:
        """Play this until the episode is over."""
        self._held = where

    def next(self) -> Array:
        """The action (D,) that is due."""
        return self._queue.popleft() if self._held is None else self._held

    def chunk(self, observation: Mapping[str, Any]) -> Array:
        """What the policy answers, (T, D). Raises OffboardError; after a loss, until :meth:`reset`, the same again."""
        if self._lost is not None:
            raise self._lost
        episode = self._episode
        try:
            if self._begun != episode:
                self._begin()
                self._begun = episode
            self._used = True
            rows = self._session.infer(observation)
        except LOSSES as error:
            self._lost = lost(error)
            raise self._lost from error
        if episode != self._episode:
            raise InvalidAction("the answer is of an episode that is over: nothing of it is played")
        if rows is None:
            raise InvalidAction("the policy has nothing new to say, and LeRobot has nothing left to play")
        if not rows:
            raise InvalidAction("the policy says that the episode is over, which LeRobot cannot be told")
        return self._wiring.actions(rows)

    def _begin(self) -> None:
        if not self._used:
            return
        try:
            self._forget()
        except (ConnectionLost, Idle):  # between two episodes nothing is lost with a connection
            self._forget()

    def _forget(self) -> None:
        self._session.reset()


def lost(error: OffboardError) -> OffboardError:
    """The same error, which says what becomes of the episode."""
    return type(error)(
        f"{error.text}. This episode is lost: the policy has forgotten what went before. Nothing is played until "
        "LeRobot begins another one"
    )
