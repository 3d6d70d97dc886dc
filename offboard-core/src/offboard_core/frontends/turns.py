"""New connections take turns, so that a flood of them costs the sessions that run no more than its share."""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """Lets one newcomer begin in each turn of the event loop, in the order in which they came.

    A request or the opening of a session takes a millisecond of the loop. A hundred that come at once would take a
    hundred of them in one piece, while a robot's answer lies ready. Nobody is refused: behind a proxy all have one
    address, and which of them floods cannot be told.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._taken = False

    async def mine(self) -> None:
        """Return when it is the caller's turn: at once where nobody else is about to begin."""
        loop = asyncio.get_running_loop()
        if self._taken:
            turn: asyncio.Future[None] = loop.create_future()
            self._waiting.append(turn)
            await turn
        else:
            self._taken = True
            loop.call_soon(self._next)

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # or its connection has ended
                turn.set_result(None)
                turn.get_loop().call_soon(self._next)
                return
        self._taken = False
