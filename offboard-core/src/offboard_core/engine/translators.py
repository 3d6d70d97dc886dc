"""Threads that translate frames beside the model's.

Daemons, unlike those of a ``ThreadPoolExecutor``, for which the interpreter waits when it ends: a codec that never
returns would keep the program from ending, whatever its exit status.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import perf_counter

log = logging.getLogger(__name__)


class Translators:
    """``count`` threads for one model that run what they are given, in the order it came. For any thread."""

    def __init__(self, name: str, count: int = 2) -> None:
        self._queue: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._busy_since: list[float | None] = [None] * count
        self._threads = [
            threading.Thread(target=self._run, args=(i,), name=f"offboard-translate-{name}-{i}", daemon=True)
            for i in range(count)
        ]
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:  # this process can have no more threads, or Ctrl-C
            self.stop()
            raise

    def submit(self, function: Callable[[], object]) -> None:
        """Run it as soon as a thread is free."""
        self._queue.put(function)

    def busy_for(self) -> float:
        """Seconds for which each of them has been in the call that it is in; 0.0 while one is free."""
        since = [one for one in self._busy_since if one is not None]
        return perf_counter() - max(since) if len(since) == len(self._threads) else 0.0

    def stop(self) -> None:
        """End the threads once what is queued is done. Nobody waits for them."""
        for _ in self._threads:
            self._queue.put(None)

    def _run(self, number: int) -> None:
        while (function := self._queue.get()) is not None:
            self._busy_since[number] = perf_counter()
            try:
                function()
            except BaseException:
                log.exception("a translation failed")
            finally:
                self._busy_since[number] = None
            del function
