"""Whoever watches a run sees all of it, and disturbs none of it."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from offboard_client.drivers import RunLength, TimedDriver
from offboard_client.errors import ConfigurationError, PolicyFailed
from offboard_client.play import (
    Answer,
    Bounded,
    EpisodeInfo,
    Outcome,
    Report,
    RunObserver,
    SafetyLimits,
    Shielded,
    Tick,
)
from robot_fakes import FakeRobot, FakeSession, Watcher, rows

EVENTS = ("started", "answered", "ticked", "ended")


def run(
    session: Any, *observers: RunObserver, episodes: int = 1, clock: Callable[[], float] = time.perf_counter
) -> FakeRobot:
    robot: Any = FakeRobot()
    driver = TimedDriver(session, robot, robot, limits=SafetyLimits(), observers=observers, clock=clock)
    driver.run(RunLength(episodes, 15.0), seed=7)
    return robot


def plain(robot: FakeRobot) -> list[Any]:
    return [({name: list(value) for name, value in action.items()}, seconds) for action, seconds in robot.played]


def session() -> FakeSession:
    return FakeSession(rows(0.0, 0.1), rows(0.1), [])


class Raising(Watcher):
    """Hears everything, and raises in ``where``."""

    def __init__(self, error: BaseException, *where: str) -> None:
        super().__init__()
        for name in where:
            setattr(self, name, self._raise)
        self._error = error

    def _raise(self, event: Any) -> None:
        self.events.append(event)
        raise self._error


class Stuck(Watcher):
    """Does not come back from its first event until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.go = threading.Event(), threading.Event()

    def started(self, episode: EpisodeInfo) -> None:
        super().started(episode)
        self.inside.set()
        assert self.go.wait(60)


def test_a_run_says_what_began_what_was_answered_what_was_played_and_how_it_ended() -> None:
    watcher, wall = Watcher(), iter(range(1000))
    before = time.time()
    robot = run(session(), watcher, clock=lambda: float(next(wall)))
    start, first, one, two, second, pause, three, third, end = watcher.events
    assert isinstance(start, EpisodeInfo)
    assert (start.number, start.seed, start.seconds) == (1, 7, 15.0)
    assert (start.control_period, start.action_period) == (0.02, pytest.approx(0.1))
    assert start.meta["action_fps"] == 10.0
    assert (start.at, before <= start.wall_time <= time.time()) == (0.0, True)
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert isinstance(third, Answer)
    assert [len(answer.rows or []) for answer in (first, second, third)] == [2, 1, 0]
    # The clock is a second later each time: observe began at 1 and was over at 2; it was sent at 3, and answered at 4.
    assert (first.at, first.observe_ms, first.round_trip_ms) == (2.0, 1000.0, 1000.0)
    assert (first.timing, first.failure) == ({"total_ms": 3.0, "server.infer_ms": 2.0}, None)
    ticks = [tick for tick in (one, two, pause, three) if isinstance(tick, Tick)]
    assert [(dict(tick.command.action), tick.command.seconds) for tick in ticks] == robot.played
    assert [tick.rung for tick in ticks] == ["playing"] * 4
    assert [tick.seconds for tick in ticks] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert (ticks[0].at, ticks[0].apply_ms) == (5.0, 1000.0)
    assert [tick.observation is first.observation for tick in ticks] == [True, True, False, False]
    assert ticks[2].observation is second.observation
    assert end == Outcome(success=True)


def test_an_exchange_that_fails_is_told_with_its_observation_and_so_is_the_end() -> None:
    watcher, report = Watcher(), Report()
    asked = FakeSession(rows(0.0), PolicyFailed("it raised"))
    run(asked, watcher, report)
    answer, outcome = watcher.events[-2:]
    assert isinstance(answer, Answer)
    assert answer.observation is asked.observations[-1]
    assert (answer.rows, answer.timing, answer.failure) == (None, {}, ("policy_failed", "it raised"))
    assert outcome == Outcome(False, ("policy_failed", "it raised"))
    assert (len(report.round_trips_ms), report.episodes[0].exchanges) == (1, 1)  # it is no round trip


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (KeyboardInterrupt(), Outcome(stopped=True)),
        (OSError("no such bus"), Outcome(False, ("internal", "OSError: no such bus"))),
    ],
    ids=["by somebody", "by what is nobody's error"],
)
def test_what_ends_a_run_ends_its_episode_first(error: BaseException, outcome: Outcome) -> None:
    class Failing(FakeSession):
        def reset(self) -> None:
            raise error

    watcher = Watcher()
    with pytest.raises(type(error)):
        run(Failing([]), watcher, episodes=2)
    assert watcher.events[-1] == outcome
    assert sum(isinstance(event, Answer) for event in watcher.events) == 1


@pytest.mark.parametrize("where", [*EVENTS, "everywhere"])
@pytest.mark.parametrize("error", [ValueError("not my day"), SystemExit("so long")], ids=["an error", "an exit"])
@pytest.mark.parametrize("bounded", [False, True], ids=["at once", "on its thread"])
def test_an_observer_that_raises_disturbs_neither_the_arm_nor_the_others(
    where: str, error: BaseException, bounded: bool, caplog: pytest.LogCaptureFixture
) -> None:
    undisturbed = Watcher()
    still = run(session(), undisturbed, episodes=2)
    raising = Raising(error, *(EVENTS if where == "everywhere" else [where]))
    after, report = Watcher(), Report()
    robot = FakeRobot()
    with Bounded(raising, 100, "the recorder") if bounded else nullcontext(Shielded(raising, "the recorder")) as first:
        driver = TimedDriver(session(), robot, robot, limits=SafetyLimits(), observers=[first, report, after])
        report.losses = driver.losses
        driver.run(RunLength(2, 15.0), seed=7)
    told = [type(event) for event in undisturbed.events]
    assert plain(robot) == plain(still)
    assert [type(event) for event in after.events] == told
    assert [type(event) for event in raising.events] == told  # it is told the next event all the same
    failed = len(told) if where == "everywhere" else sum(kind is KINDS[where] for kind in told)
    (loss,) = json.loads(json.dumps(report.as_dict()))["losses"]
    failure = f"{type(error).__name__}: {error}"
    assert loss == {"observer": "the recorder", "dropped": 0, "failed": failed, "failure": failure}
    assert [record.getMessage() for record in caplog.records] == [
        "the recorder failed while it watched the run, which goes on"
    ]


KINDS = {"started": EpisodeInfo, "answered": Answer, "ticked": Tick, "ended": Outcome}


def test_an_observer_cannot_keep_ctrl_c_from_the_program() -> None:
    with pytest.raises(KeyboardInterrupt):
        run(session(), Raising(KeyboardInterrupt(), "ticked"))


def test_the_arm_does_not_wait_for_a_bounded_observer_and_what_finds_no_place_is_counted() -> None:
    stuck, report = Stuck(), Report()
    with Bounded(stuck, 3, "slow") as bounded:
        bounded.started(EpisodeInfo(0, 0, 1.0, 0.02, 0.1, {}, 0.0, 0.0))
        assert stuck.inside.wait(60)
        robot = run(session(), bounded, report)
        assert len(robot.played) == 4  # to the end, while it was stuck
        stuck.go.set()
    kinds = [type(event) for event in stuck.events]
    # Two places went to the beginning and the end, which find one however full it is; three to others.
    assert kinds == [EpisodeInfo, EpisodeInfo, Answer, Tick, Outcome]
    assert bounded.loss.dropped == 7 - 2


def test_closing_waits_for_what_waits_and_ends_the_thread() -> None:
    watcher = Watcher()
    with Bounded(watcher, 100, "the patient") as bounded:
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "offboard-watch-the patient"]
        run(session(), bounded, episodes=3)
    assert len([event for event in watcher.events if isinstance(event, Outcome)]) == 3
    assert not thread.is_alive()
    assert not bounded.loss
    bounded.close()
    bounded.ended(Outcome())
    assert bounded.loss.dropped == 1


def test_an_observer_that_never_comes_back_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    stuck = Stuck()
    bounded = Bounded(stuck, 100, "the recorder")
    run(session(), bounded)
    assert stuck.inside.wait(60)
    bounded.close(0.01)
    assert bounded.loss.dropped == 8
    assert "the recorder was not done within 0.01 s and is left behind" in caplog.text
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "offboard-watch-the recorder"]
    stuck.go.set()
    thread.join(60)
    assert not thread.is_alive()
    assert len(stuck.events) == 1


def test_a_queue_without_places_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="0 places"):
        Bounded(Watcher(), 0)


def test_with_nobody_listening_nothing_is_made_of_a_step_or_an_answer() -> None:
    called: Counter[str] = Counter()

    def note(frame: Any, event: str, argument: Any) -> None:
        called[frame.f_globals.get("__name__", "")] += event == "call"

    def calls(asked: FakeSession, *observers: RunObserver) -> int:
        called.clear()
        sys.setprofile(note)
        try:
            run(asked, *observers)
        finally:
            sys.setprofile(None)
        return called["offboard_client.play.observer"] + called["offboard_client.play.bounded"]

    short, long = FakeSession([]), session()
    assert calls(short) == calls(long) > 0  # an outcome has each episode, however much was played in it
    assert calls(session(), Watcher()) > 2 * 9  # the nine events, and what shields the observer
