"""Between a run and who watches it: nobody who is slow, or raises, disturbs the arm."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import ConfigurationError, told
from .observer import (
    Answer,
    EpisodeInfo,
    FilmingObserver,
    Frame,
    IdleObserver,
    Outcome,
    RunObserver,
    Sample,
    SamplingObserver,
    ShadowAnswer,
    ShadowObserver,
    Tick,
)

log = logging.getLogger(__name__)

#: Places of the queue that are kept for beginnings and ends: who missed one would take two episodes for one.
_RESERVE = 64


@dataclass
class Loss:
    """What an observer did not see (``dropped``) or did not manage (``failed``), in events; ``failure``: the first."""

    observer: str
    dropped: int = 0
    failed: int = 0
    failure: str | None = None

    def __bool__(self) -> bool:
        return bool(self.dropped or self.failed)


class Shielded:
    """An observer whose failures stay its own: counted, the first one logged, and it is told the next event.

    ``name``: for people, in the log and in the report; by default the class's.
    """

    def __init__(self, observer: RunObserver, name: str = "") -> None:
        self._observer = observer
        self.loss = Loss(name or type(observer).__name__)
        #: So often it wants the robot observed, in Hz (:class:`.observer.SamplingObserver`); 0: as the policy is asked.
        self.sample_hz: float = observer.sample_hz if isinstance(observer, SamplingObserver) else 0.0
        #: Whether it wants every picture of cameras that are looked at meanwhile.
        self.films = isinstance(observer, FilmingObserver)
        #: The same while a person is waited for (:class:`.observer.IdleObserver`); 0: not at all.
        self.idle_hz: float = observer.idle_hz if isinstance(observer, IdleObserver) else 0.0

    def started(self, episode: EpisodeInfo, /) -> None:
        """See :class:`.observer.RunObserver`."""
        self._tell(self._observer.started, episode)

    def answered(self, answer: Answer, /) -> None:
        """See :class:`.observer.RunObserver`."""
        self._tell(self._observer.answered, answer)

    def ticked(self, tick: Tick, /) -> None:
        """See :class:`.observer.RunObserver`."""
        self._tell(self._observer.ticked, tick)

    def sampled(self, sample: Sample, /) -> None:
        """See :class:`.observer.SamplingObserver`; nothing for another."""
        if isinstance(self._observer, SamplingObserver):
            self._tell(self._observer.sampled, sample)

    def filmed(self, frame: Frame, /) -> None:
        """See :class:`.observer.FilmingObserver`; nothing for another."""
        if isinstance(self._observer, FilmingObserver):
            self._tell(self._observer.filmed, frame)

    def shadow_answered(self, answer: ShadowAnswer, /) -> None:
        """See :class:`.observer.ShadowObserver`; nothing for another."""
        if isinstance(self._observer, ShadowObserver):
            self._tell(self._observer.shadow_answered, answer)

    def idled(self, sample: Sample, /) -> None:
        """See :class:`.observer.IdleObserver`; nothing for another."""
        if isinstance(self._observer, IdleObserver):
            self._tell(self._observer.idled, sample)

    def ended(self, outcome: Outcome, /) -> None:
        """See :class:`.observer.RunObserver`."""
        self._tell(self._observer.ended, outcome)

    def _tell(self, hear: Callable[[Any], None], event: Any) -> None:
        try:
            hear(event)
        except KeyboardInterrupt:  # is whoever runs the program, on the main thread
            raise
        except BaseException as error:  # SystemExit included: an observer is anybody's code
            self.loss.failed += 1
            if self.loss.failure is None:
                self.loss.failure = told(error)
                log.exception("%s failed while it watched the run, which goes on", self.loss.observer)


class Bounded(Shielded):
    """An observer on a thread of its own, behind a queue: the arm never waits for it.

    What finds ``size`` events waiting is dropped and counted. They hold their observations: where ``most`` is given,
    so is what finds that many bytes of arrays waiting. Close it after the run, or use it as a context.
    """

    def __init__(self, observer: RunObserver, size: int, name: str = "", most: float = math.inf) -> None:
        """Raises ConfigurationError for no size at all."""
        if size < 1:
            raise ConfigurationError(f"an observer's queue has {size} places; expected 1 or more")
        super().__init__(observer, name)
        self._size, self._most = size, most
        # Bytes that were put into the queue, by whoever calls, and taken out, by the thread.
        self._put = self._taken = 0
        self._entry = threading.Lock()
        self._queue: SimpleQueue[tuple[Callable[[Any], None], Any, int] | None] = SimpleQueue()
        self._closed = False
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"offboard-watch-{self.loss.observer}", daemon=True)
        self._thread.start()

    def close(self, seconds: float = 5.0) -> None:
        """Wait until it has seen what waits, for ``seconds`` at most; the rest is dropped. May be repeated."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._leave.set()
            self.loss.dropped += max(0, self._queue.qsize() - 1)
            log.error("%s was not done within %g s and is left behind", self.loss.observer, seconds)
        elif self.loss.dropped:
            why = "was too slow" if self.loss.failure is None else "failed"
            log.warning("%s %s and missed %d events", self.loss.observer, why, self.loss.dropped)

    def __enter__(self) -> Bounded:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _tell(self, hear: Callable[[Any], None], event: Any) -> None:
        limit = self._size + (_RESERVE if isinstance(event, (EpisodeInfo, Outcome)) else 0)
        held = _held(event) if self._most < math.inf else 0
        with self._entry:  # a shadow's answers, and a camera's pictures, come from threads of their own
            if self._closed or self._queue.qsize() >= limit or (held and self._put - self._taken + held > self._most):
                self.loss.dropped += 1
            else:
                self._put += held
                self._queue.put((hear, event, held))

    def _run(self) -> None:
        while (waiting := self._queue.get()) is not None and not self._leave.is_set():
            hear, event, held = waiting
            super()._tell(hear, event)
            self._taken += held


def _held(event: Any) -> int:
    """Bytes of the arrays that an event brings: those of its observation, or its picture."""
    if isinstance(event, Frame):
        return event.picture.nbytes
    if not isinstance(event, (Answer, Sample)):
        return 0
    return sum(value.nbytes for value in event.observation.values() if isinstance(value, np.ndarray))
