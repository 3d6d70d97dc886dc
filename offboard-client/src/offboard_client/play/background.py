"""A thread that does one thing after the other for those who do not wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar, cast

from ..errors import Busy, ConnectionLost

T = TypeVar("T")
#: Seconds that it has to come back from what it is in when it is closed.
_LEAVING = 5.0


class OneThread:
    """Does what it is given, in its order, until it is closed. Thread-safe."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, job: Callable[[], None]) -> None:
        """Do ``job``, which raises nothing. Returns at once. Raises ConnectionLost once it is closed."""
        with self._lock:
            if self._closed:
                raise ConnectionLost("what would have asked the policy was closed")
            self._jobs.put(job)

    def call(self, function: Callable[[], T]) -> T:
        """What ``function`` returns or raises, after what was given before. It has to have an end."""
        if threading.current_thread() is self._thread:
            raise Busy("a policy's own thread cannot wait for itself")
        answered = SimpleQueue[tuple[T | None, BaseException | None]]()

        def job() -> None:
            try:
                answered.put((function(), None))
            except BaseException as error:
                answered.put((None, error))

        self.put(job)
        found, error = answered.get()
        if error is not None:
            raise error
        return cast("T", found)

    def close(self) -> None:
        """End, after what was given before; wait for that, but not for ever. May be repeated."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(_LEAVING)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
