"""Where the calls of one policy run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ..types import Policy
from .exchange import Exchange
from .pipeline import Pipeline

T = TypeVar("T")


class Executor(Protocol):
    """Runs the calls and exchanges of one policy, one at a time, in the order in which they came.

    Its methods are for the event loop's thread and wait for no call. It knows no device and no process: where a model
    computes is its policy's business.
    """

    #: Set by the first call. Its methods are called here only; its attributes may be read anywhere.
    policy: Policy[Any] | None

    async def call(self, function: Callable[[], T], timeout: float | None, what: str) -> T:
        """Run ``function`` after what is queued.

        Raises InferTimeout when ``timeout`` s are over, and PolicyFailed for what the function raises, unless that is
        an OffboardError of its own.
        """
        ...

    def post(self, function: Callable[[], Any], what: str) -> None:
        """Run ``function`` after what is queued; nobody waits for it, and what it raises is logged."""
        ...

    def submit(self, exchange: Exchange) -> None:
        """Queue an exchange; its ``deliver`` is called on the loop when the reply is there."""
        ...

    def abandon(self, exchange: Exchange) -> None:
        """Nobody waits for this reply any more: skip the work if it has not begun, drop the result if it has."""
        ...

    def settle(self, exchange: Exchange) -> None:
        """If its answer was said (:class:`~.loans.Loan`), call its ``deliver`` now."""
        ...

    def forget(self, pipeline: Pipeline) -> None:
        """A session is gone: no batch waits for it any more."""
        ...

    def expire(self, limit: float) -> None:
        """Answer what is older than ``limit`` s with a timeout; its late result is thrown away. Called now and then."""
        ...

    def stuck(self, limit: float) -> str | None:
        """What has not returned for longer than ``limit`` s, for people; else None."""
        ...

    @property
    def queued(self) -> int:
        """Exchanges that are not answered yet."""
        ...

    def stop(self) -> None:
        """End once the queue is worked off. Nobody waits for that."""
        ...

    def is_alive(self) -> bool:
        """Whether it still runs (after :meth:`stop`: because a call never returned)."""
        ...
