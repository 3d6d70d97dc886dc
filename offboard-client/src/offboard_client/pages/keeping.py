"""Writes what is said of a run's episodes beside their recordings, while the run goes on; nobody waits for the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from ..errors import OffboardError
from ..evaluation import Review, edit_review
from .desk import Desk

#: Seconds after which it looks again for a recording that was not there yet; and in which one has to be there at last.
_AGAIN, _LAST = 0.2, 5.0
_WORDS = ("outcome", "items", "items_total", "note")


class Keeping:
    """A thread that keeps what ``desk`` was told of episodes that are over.

    ``path_of``: where an episode's recording is, by its number; None: not yet. ``problem``: why the last could not be
    kept, in words.
    """

    def __init__(self, desk: Desk, path_of: Callable[[int], Path | None]) -> None:
        self._desk, self._path_of = desk, path_of
        self._kept: dict[int, Review] = {}
        self._closed = threading.Event()
        self.problem: str | None = None
        self._thread = threading.Thread(target=self._run, name="offboard-page-keeping", daemon=True)
        self._thread.start()

    @property
    def saved(self) -> bool:
        """Whether all that was said of episodes that are over is on the disk."""
        return not self._left()

    def close(self) -> None:
        """Write what is left. May be repeated."""
        self._closed.set()
        self._desk.changed.set()
        self._thread.join(2 * _LAST)

    # -- inside ----------------------------------------------------------------------------------------
    def _left(self) -> dict[int, Review]:
        said = dict(self._desk.said)
        if self._desk.phase == "playing":  # it may still be thrown away
            said.pop(self._desk.number, None)
        return {number: review for number, review in said.items() if self._kept.get(number, Review()) != review}

    def _run(self) -> None:
        waited = 0.0
        while True:
            left = self._left()
            for number, review in left.items():
                if (path := self._path_of(number)) is not None:
                    self._keep(path, number, review)
            if left := self._left():  # the recording's own thread is not so far yet
                waited += _AGAIN
            if self._closed.is_set() and (not left or waited > _LAST):
                return
            self._desk.changed.wait(_AGAIN if left else None)
            self._desk.changed.clear()

    def _keep(self, path: Path, number: int, review: Review) -> None:
        before = self._kept.get(number, Review())
        words = {name: getattr(review, name) for name in _WORDS if getattr(review, name) != getattr(before, name)}
        tags = {tag: tag in review.tags for tag in {*review.tags, *before.tags}}
        try:
            _, lost = edit_review(path, words, {name: getattr(before, name) for name in words}, tags=tags)
        except OffboardError as error:
            self.problem = error.text
        else:
            self.problem = None
            if lost:
                self.problem = f"somebody has said otherwise in `offboard replay` ({', '.join(lost)}): that stays"
        self._kept[number] = review
