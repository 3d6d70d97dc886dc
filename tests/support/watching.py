"""Observers for tests."""

import threading

from offboard_core import ExchangeRecord, Observer
from puppets import Door


class Noting(Observer):
    """Notes what it is told; ``come`` is set when ``expected`` records have. Stops at ``door``, fails by ``error``."""

    def __init__(
        self, expected: int = 1, *, waiting: int = 64, waiting_bytes: int = 2**28, contents: bool = True
    ) -> None:
        self.waiting, self.waiting_bytes, self.contents = waiting, waiting_bytes, contents
        self.records: list[ExchangeRecord] = []
        self.threads: set[str] = set()
        self.door: Door | None = None
        self.error: BaseException | None = None
        self.end_error: BaseException | None = None
        self.closed = 0
        #: Sessions that ended, each with how many records there were by then.
        self.ends: list[tuple[str, int]] = []
        self._marks: dict[int, threading.Event] = {}
        self.come = self.reached(expected)

    def exchanged(self, record: ExchangeRecord) -> None:
        self.threads.add(threading.current_thread().name)
        if self.door is not None:
            self.door.passing()
        self.records.append(record)
        if (mark := self._marks.get(len(self.records))) is not None:
            mark.set()
        if self.error is not None:
            raise self.error

    def ended(self, session_id: str) -> None:
        self.ends.append((session_id, len(self.records)))
        if self.end_error is not None:
            raise self.end_error

    def close(self) -> None:
        self.closed += 1
        if self.error is not None:
            raise self.error

    def reached(self, count: int) -> threading.Event:
        """Set once so many records have come, of which there are fewer yet."""
        return self._marks.setdefault(count, threading.Event())
