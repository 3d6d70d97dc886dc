"""An observer of a run takes whatever happens, and changes nothing of it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..play import RUNGS, Answer, Command, EpisodeInfo, Outcome, RunObserver, Tick

Event = EpisodeInfo | Answer | Tick | Outcome


class RunObserverLaws:
    """What the driver relies on. Say how one is made; it watches the runs of an arm with a camera."""

    def observer(self) -> RunObserver:
        """One that has seen nothing."""
        raise NotImplementedError("say by observer() how one is made")

    def test_it_takes_whatever_happens(self) -> None:
        """Episodes that are played, stopped, or fail, and one that ends before anything was answered."""
        observer = self.observer()
        for event in _run():
            _tell(observer, event)

    def test_it_watches_the_next_run_as_well(self) -> None:
        """The episodes of a driver are counted from 1 each time that it runs."""
        observer = self.observer()
        for event in (*_run(), *_run()):
            _tell(observer, event)

    def test_it_writes_into_nothing(self) -> None:
        """What it is given is what the robot is sent and what the policy is asked with."""
        observer = self.observer()
        events = [(event, copy.deepcopy(dataclasses.asdict(event))) for event in _run()]
        for event, _ in events:
            _tell(observer, event)
        for event, before in events:  # an earlier one's, too
            np.testing.assert_equal(dataclasses.asdict(event), before)


def _tell(observer: RunObserver, event: Event) -> None:
    if isinstance(event, EpisodeInfo):
        observer.started(event)
    elif isinstance(event, Answer):
        observer.answered(event)
    elif isinstance(event, Tick):
        observer.ticked(event)
    else:
        observer.ended(event)


def _run() -> Iterator[Event]:
    """As a driver tells of it; times are in seconds on one clock."""
    meta: dict[str, Any] = {"type": "tested", "action_fps": 10.0, "action": {}, "observation": {}}
    ends = [
        Outcome(True),
        Outcome(False, ("policy_failed", "it raised")),
        Outcome(stopped=True),
        Outcome(stopped=True, kept=False),
        Outcome(),
    ]
    for number, outcome in enumerate(ends, 1):
        at = 20.0 * number
        yield EpisodeInfo(number, number - 1, 15.0, 0.02, 0.1, meta, at, 1.7e9 + at, images="raw")
        if number == 1:
            yield from _played(at)
        elif outcome.failure is not None:
            yield Answer(_seen(), None, at + 1, 2.0, 3.0, {}, outcome.failure)
        elif not outcome.kept:
            yield Tick(Command({}, 0.02), "hold", at + 1, 0.0, {}, 20.0)  # before anything was observed
        elif outcome.stopped:
            yield from _without_task(at)
        yield outcome


def _played(at: float) -> Iterator[Event]:
    """Every answer that there is, and every rung."""
    observation, timing = _seen(), {"total_ms": 6.0, "network_ms": 1.0, "server.infer_ms": 4.0}
    rows: list[dict[str, Any]] = [
        {"action": {"target_joints": np.full(7, 0.1 * i)}, "timestamp": 0.1 * i} for i in range(2)
    ]
    yield Answer(observation, rows, at + 1, 2.0, 6.0, timing)
    for i, row in enumerate(rows):
        yield Tick(Command(row["action"], 0.1, i), "playing", at + 1 + 0.1 * i, 0.1 * i, observation, 100.0)
    for i, rung in enumerate(RUNGS):
        yield Tick(Command({}, 0.02), rung, at + 1.2 + 0.02 * i, 0.2 + 0.02 * i, observation, 20.0)
    yield Answer(_seen(), None, at + 2, 2.0, 6.0, timing)
    yield Answer(_seen(), rows, at + 2.2, 2.0, 900.0, timing, dropped="they came too late")
    yield Answer(_seen(), rows, at + 2.5, 2.0, 6.0, timing, anew=True, images="jpeg:90")
    yield Answer(_seen(), [], at + 3, 2.0, 6.0, timing)


def _without_task(at: float) -> Iterator[Event]:
    """Of a robot that is told none, by a policy that only grips."""
    observation = {"robot_state.q": np.zeros(7)}
    action = {"target_grip": np.ones(1)}
    yield Answer(observation, [{"action": action, "timestamp": 0.0}], at + 1, 2.0, 6.0, {"total_ms": 6.0})
    yield Tick(Command(action, 0.1, 0), "playing", at + 1, 0.0, observation, 100.0)


def _seen() -> dict[str, Any]:
    return {"robot_state.q": np.zeros(7), "image.wrist": np.zeros((8, 8, 3), np.uint8), "task": "go"}
