"""Telling those who watch a run what happens, each of them shielded from what another raises."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import OffboardError
from ..play import (
    Answer,
    Command,
    EpisodeInfo,
    Exchange,
    Fit,
    Frame,
    Loss,
    Outcome,
    Rung,
    RunObserver,
    Sample,
    Shielded,
    Tick,
)


class Audience:
    """The observers of a run. Nothing is made for them where there are none."""

    def __init__(self, observers: Iterable[RunObserver], clock: Callable[[], float], fit: Fit | None = None) -> None:
        self._observers = [each if isinstance(each, Shielded) else Shielded(each) for each in observers]
        self._clock, self._fit = clock, fit
        #: So often somebody wants the robot observed, in Hz of its own time; 0: only what the policy is asked about.
        self.sample_hz = max((observer.sample_hz for observer in self._observers), default=0.0)
        #: So often, while a person is waited for, in Hz; 0: not at all.
        self.idle_hz = max((observer.idle_hz for observer in self._observers), default=0.0)
        self._filming = [observer for observer in self._observers if observer.films]

    @property
    def films(self) -> bool:
        """Whether somebody wants every picture of cameras that are looked at meanwhile."""
        return bool(self._filming)

    @property
    def losses(self) -> list[Loss]:
        """What each of them missed so far; the counters go on with the run."""
        return [observer.loss for observer in self._observers]

    def started(
        self,
        number: int,
        seed: int,
        seconds: float,
        periods: tuple[float, float],
        meta: Mapping[str, Any],
        images: str | None,
        filmed: frozenset[str] = frozenset(),
    ) -> None:
        """See :class:`EpisodeInfo`. ``periods``: the robot's control period, and that of an action."""
        if self._observers:
            now = self._clock(), time.time()
            episode = EpisodeInfo(number, seed, seconds, *periods, meta, *now, self._fit, images, filmed)
            for observer in self._observers:
                observer.started(episode)

    def answered(self, exchange: Exchange, sent: float, observe_ms: float) -> None:
        """See :class:`Answer`. ``sent``: when; by the clock of all events."""
        if self._observers:
            failure = None if exchange.failure is None else described(exchange.failure)
            rows = None if failure else exchange.rows
            answer = Answer(
                exchange.observation, rows, sent, observe_ms, 1000 * exchange.took, exchange.timing, failure,
                exchange.anew, exchange.dropped, exchange.configured, exchange.images,
            )  # fmt: skip
            for observer in self._observers:
                observer.answered(answer)

    def sampled(self, sample: Sample) -> None:
        """See :class:`Sample`."""
        for observer in self._observers:
            observer.sampled(sample)

    def filmed(self, frame: Frame) -> None:
        """See :class:`Frame`; from any thread."""
        for observer in self._filming:
            observer.filmed(frame)

    def idled(self, sample: Sample) -> None:
        """See :class:`IdleObserver`."""
        for observer in self._observers:
            observer.idled(sample)

    def ticked(self, command: Command, rung: Rung, at: float, seconds: float, observation: Mapping[str, Any]) -> None:
        """See :class:`Tick`; the robot has just come back from it."""
        if self._observers:
            tick = Tick(command, rung, at, seconds, observation, 1000 * (self._clock() - at))
            for observer in self._observers:
                observer.ticked(tick)

    def ended(self, outcome: Outcome) -> None:
        """The episode is over."""
        for observer in self._observers:
            observer.ended(outcome)


def described(error: OffboardError) -> tuple[str, str]:
    """An error's code and text."""
    return error.code, error.text
