"""Threads that translate frames beside the model's.

Daemons, unlike those of a ``ThreadPoolExecutor``, for which the interpreter waits when it ends: a codec that never
returns would keep the program from ending, whatever its exit status.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

log = logging.getLogger(__name__)


class Translators:
    """``count`` threads for one model that run what they are given, in the order it came. For any thread."""

    def __init__(self, name: str, count: int = 2) -> None:
        self._queue: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"offboard-translate-{name}-{i}", daemon=True) for i in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[[], object]) -> None:
        """Run it as soon as a thread is free."""
        self._queue.put(function)

    def stop(self) -> None:
        """End the threads once what is queued is done. Nobody waits for them."""
        for _ in self._threads:
            self._queue.put(None)

    def _run(self) -> None:
        while (function := self._queue.get()) is not None:
            try:
                function()
            except BaseException:
                log.exception("a translation failed")
            del function
