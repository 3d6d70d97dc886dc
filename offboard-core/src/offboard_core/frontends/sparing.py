"""A log that the network cannot fill: robots repeat what fails, and what they send may stand in the text."""

from __future__ import annotations

from collections import deque
from threading import Lock
from time import monotonic

#: What was logged is not logged again for so many seconds, and no more than so many lines in that time.
_AGAIN, _MOST = 60.0, 50


class Sparing:
    """Says which lines of a kind may be logged. For any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._logged: deque[tuple[float, str]] = deque()

    def may(self, line: str) -> bool:
        """Whether ``line``, or what stands for it, may be logged now; it counts as logged then."""
        now = monotonic()
        with self._lock:
            while self._logged and now - self._logged[0][0] > _AGAIN:
                self._logged.popleft()
            if len(self._logged) >= _MOST or any(logged == line for _, logged in self._logged):
                return False
            self._logged.append((now, line))
            return True
