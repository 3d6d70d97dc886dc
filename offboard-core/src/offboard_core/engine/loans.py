"""Who tells a robot its answer: the event loop, or at once the thread that made it, on loan from the event loop.

To wake the event loop for an answer costs a tenth of what a small exchange takes. So where nothing else can be written
to a connection, whoever owns it lends the model's thread the right to write one answer there, and may take that back at
any time: then the event loop tells it, as any other. What there is to be done about an answer that was said is done on
the event loop, when more comes from its robot, or soon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from .deliveries import deliver
from .exchange import Exchange

#: The reply of an exchange whose robot has it: there is nothing to send.
SAID: Any = object()
#: Seconds after which the event loop at last looks whether an answer was said.
SOON = 0.02


class Loan(Protocol):
    """The right to say one answer."""

    #: Whether it was said.
    said: bool

    def say(self, reply: Any) -> bool:
        """Say it now, without waiting. False where it is for the event loop. On the model's thread."""
        ...

    def recall(self) -> bool:
        """Nobody but the event loop says anything from now on: whether it was said before. On the event loop."""
        ...


#: Lends, or None where that is not possible now. On the event loop.
Lend = Callable[[], "Loan | None"]


class Loans:
    """Those of one executor's exchanges that are not answered yet: ``open``. On the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, open: set[Exchange]) -> None:
        self._loop, self._open = loop, open
        self._timer: asyncio.TimerHandle | None = None

    def lend(self, exchange: Exchange) -> None:
        """Let its answer be said by whoever makes it, if its robot's connection is one where that can be."""
        lend = exchange.lend
        if lend is None or exchange.pipeline.records is not None:  # who looks on is told when it was sent
            return
        loan = exchange.loan = lend()
        if loan is not None and self._timer is None:
            self._timer = self._loop.call_later(SOON, self._look)

    def recall(self, exchange: Exchange) -> bool:
        """Whether it has been answered, and is settled now; if not, that is for the event loop alone."""
        loan = exchange.loan
        if loan is None or not loan.recall():
            return False
        self._settle(exchange)
        return True

    def _settle(self, exchange: Exchange) -> None:
        if exchange in self._open:
            self._open.discard(exchange)
            deliver(exchange, SAID, None)

    def _look(self) -> None:
        self._timer = None
        for exchange in [exchange for exchange in self._open if exchange.loan is not None and exchange.loan.said]:
            self._settle(exchange)
        if any(exchange.loan is not None for exchange in self._open):
            self._timer = self._loop.call_later(SOON, self._look)


def say(exchange: Exchange) -> bool:
    """Whether the answer was said here and now. On the model's thread, for one that is finished."""
    loan = exchange.loan
    return loan is not None and exchange.error is None and loan.say(exchange.reply)
