"""Questions to the places where models lie: to a disk or a network, which may never answer.

Each place is asked on threads of its own, a few at a time, so that one that hangs holds up nobody but those who want
something of it. The threads are daemons: a question that is never answered does not keep the program from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from offboard_client.errors import ConfigurationError, InferTimeout, OffboardError, told

from .waiting import wait_until_set

log = logging.getLogger(__name__)
T = TypeVar("T")

#: How long a place may take for one answer, in seconds.
PATIENCE = 30.0
#: How many questions one place is asked at a time.
AT_ONCE = 4


class Lookups:
    """Asks one place; for the event loop's thread. ``name`` is what errors call it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._asked: dict[asyncio.Future[Any], float] = {}
        self._answered = asyncio.Event()

    async def ask(self, function: Callable[[], T]) -> T:
        """What ``function`` returns, which may touch a disk or a network.

        Raises InferTimeout when no answer came in time, at once if none has come to those who asked before;
        ConfigurationError for what it raises, unless that is an OffboardError of its own.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        while len(self._asked) >= AT_ONCE:
            now = loop.time()
            if now >= end or all(now - since >= PATIENCE for since in self._asked.values()):
                raise self._silent()
            self._answered.clear()
            await wait_until_set(self._answered, min(end, min(self._asked.values()) + PATIENCE) - now)
        future: asyncio.Future[T] = loop.create_future()
        self._asked[future] = loop.time()
        threading.Thread(
            target=self._work, args=(function, future, loop), name=f"offboard-registry-{self._name}", daemon=True
        ).start()
        if not (await asyncio.wait({future}, timeout=end - loop.time()))[0]:
            raise self._silent()
        try:
            return future.result()
        except OffboardError:
            raise
        except Exception as error:
            log.exception("looking up what can be served failed")
            raise ConfigurationError(f"what can be served cannot be told: {told(error)}") from error

    def _silent(self) -> InferTimeout:
        return InferTimeout(
            f"the place where the models of {self._name} lie did not answer within {PATIENCE:g} s; "
            "see whether its disk or network answers"
        )

    def _work(self, function: Callable[[], T], future: asyncio.Future[T], loop: asyncio.AbstractEventLoop) -> None:
        try:
            result, error = function(), None
        except BaseException as raised:
            # A future takes Exceptions only, and not all of them.
            takes = isinstance(raised, Exception) and not isinstance(raised, StopIteration)
            result, error = None, raised if takes else RuntimeError(repr(raised))
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left who asks
            loop.call_soon_threadsafe(self._resolve, future, result, error)

    def _resolve(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        del self._asked[future]
        self._answered.set()
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
            future.exception()  # whoever gave up on it does not ask
