"""An arm whose clock does not stand still: what is played of late, failed and missing answers, on a manual clock."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from offboard_client.cli import show
from offboard_client.drivers import Attention, Audience, Player
from offboard_client.errors import (
    BadMessage,
    BadObservation,
    ConnectionFailed,
    ConnectionLost,
    DeadlineExceeded,
    Idle,
    InferTimeout,
    InvalidAction,
    ModelLost,
    PolicyFailed,
    RobotFailed,
    ServerChanged,
    ShuttingDown,
)
from offboard_client.play import (
    Answer,
    Command,
    Controls,
    EpisodeInfo,
    GiveBack,
    Guard,
    Hold,
    Ladder,
    Outcome,
    Patience,
    PolicyStream,
    Report,
    Resume,
    SafetyLimits,
    Stop,
    TakeOver,
    Tick,
)
from offboard_client.robots import RobotSpec
from robot_fakes import Watcher

PERIOD = 0.02
STEP = 0.1
PATIENCE = 60.0
LIMITS = SafetyLimits(workspace_low=None, workspace_high=None, joint_velocity=1.0)


class Time:
    """A clock that only moves when the arm does."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Policy:
    """Goes on from where the arm was seen, 0.05 rad a step; answer ``i`` comes ``delays(i)`` s after it was asked.

    ``fails``: number → what is raised instead. A session's reset fails as often as ``closed`` says.
    """

    def __init__(self, time: Time, delays: Callable[[int], float], steps: int = 10) -> None:
        self.metadata: Mapping[str, Any] = {"action_fps": 1 / STEP, "action": {"target_joints": {}}}
        self.timing = SimpleNamespace(last={"wait": 1.0})
        self.fails: dict[int, BaseException] = {}
        self.closed = 0
        self.resets = 0
        self.asked: list[float] = []
        self.stops_at: int | None = None
        self._time, self._delays, self._steps = time, delays, steps
        self._due: float | None = None
        self._changed = threading.Condition()

    def infer(self, observation: Mapping[str, Any]) -> Sequence[Mapping[str, Any]] | None:
        with self._changed:
            number = len(self.asked)
            self.asked.append(self._time.now)
            self._due = self._time.now + self._delays(number)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._due is None, PATIENCE)
        if number in self.fails:
            raise self.fails[number]
        if number == self.stops_at:
            return []
        q = float(observation["robot_state.q"][0])
        return [
            {"action": {"target_joints": np.array([q + 0.05 * (i + 1)])}, "timestamp": i * STEP}
            for i in range(self._steps)
        ]

    def passes(self) -> bool:
        """The clock has moved; whether an answer is due now, which is on its way then."""
        with self._changed:
            if self._due is not None and self._due <= self._time.now + 1e-9:
                self._due = None
                self._changed.notify_all()
                return True
            return False

    @property
    def thinks(self) -> bool:
        return self._due is not None

    def asked_for(self) -> None:
        """Returns when the observation that was handed in has reached it."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._due is not None, PATIENCE)

    def reset(self) -> None:
        self.resets += 1
        if self.closed:
            self.closed -= 1
            raise ConnectionFailed("nobody listens there")

    def close(self) -> None: ...


class Arm:
    """One joint that follows its set-points; ``happens``: what happens when it has moved for so long."""

    actions = frozenset({"target_joints"})
    control_period = PERIOD
    kinematics = None
    realtime = True
    instruction = "go on"

    def __init__(self, time: Time, moved: Callable[[], None]) -> None:
        self.q = 0.0
        self.path: list[float] = []
        self.stops = 0
        self.late = 0.0
        self.age: Callable[[], float] = lambda: 0.0
        self.spec: Any = None
        self._time, self._moved = time, moved

    @property
    def taken(self) -> dict[str, float]:
        return {"image.wrist": self._time.now - self.age()}

    def observe(self) -> dict[str, Any]:
        return {**self.state(), "image.wrist": np.zeros((2, 2, 3), np.uint8)}

    def state(self) -> dict[str, Any]:
        return {"robot_state.q": np.array([self.q])}

    def apply(self, action: Mapping[str, Any], seconds: float) -> None:
        periods = round(seconds / PERIOD)
        assert periods >= 1
        goal = float(action["target_joints"][0]) if action else self.q
        begin = self.q
        for i in range(periods):
            self.q = begin + (goal - begin) * (i + 1) / periods
            self._time.now += PERIOD
            self.path.append(self.q)
        self._time.now += self.late
        self.late = 0.0
        self._moved()

    def stop(self) -> None:
        self.stops += 1

    def close(self) -> None: ...


class Rig:
    def __init__(
        self, delays: Callable[[int], float], chunks: str = "prefetch", patience: Patience | None = None,
        safe_action: Mapping[str, Any] | None = None, limits: SafetyLimits = LIMITS,
        spec: Mapping[str, float] | None = None, **options: Any,
    ) -> None:  # fmt: skip
        self.time = Time()
        self.policy = Policy(self.time, delays)
        self.stream = PolicyStream(self.policy, chunks, clock=self.time, **options)
        self.arm = Arm(self.time, self._moved)
        self.arm.spec = RobotSpec(measures={}, plays={}, control_period=PERIOD, **(spec or {}))
        robot: Any = self.arm
        self.watcher, self.controls = Watcher(), Controls()
        self.happens: dict[int, Callable[[], None]] = {}
        observe = self.stream.observe

        def observing(observation: Mapping[str, Any], now: float) -> Mapping[str, Any]:
            sent = observe(observation, now)
            self.policy.asked_for()
            self._moved()
            return sent

        self.stream.observe = observing
        attention = Attention(self.controls, robot, PERIOD, lambda seconds: self.controls.post(Resume()))
        self.guard = Guard(robot, limits, self.policy.metadata)
        self.player = Player(
            robot, robot, self.stream, self.guard,
            Ladder(patience or Patience(), safe_action is not None), attention,
            Audience([self.watcher], self.time), self.time, safe_action,
        )  # fmt: skip

    def _moved(self) -> None:
        for at in [at for at in self.happens if at <= len(self.arm.path)]:
            self.happens.pop(at)()
        if self.policy.passes():
            assert self.stream.wait(PATIENCE)

    def play(self, seconds: float) -> bool:
        try:
            return self.player.play(seconds)
        finally:
            self.stream.interrupt()
            self.time.now = float("inf")
            self.policy.passes()
            self.stream.close()

    def settles(self, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> bool:
        """Plays to the end, and lets time go on while the answer that is on its way then is awaited."""
        wait = self.stream.wait

        def waiting(patience: float) -> bool:
            self.time.now += patience
            meanwhile()
            return wait(PATIENCE if self.policy.passes() else 0.0)

        self.player.want.begin()
        try:
            assert self.player.play(seconds)
            self.stream.wait = waiting
            return self.player.want.settle()
        finally:
            self.stream.wait = wait
            self.stream.interrupt()
            self.time.now = float("inf")
            self.policy.passes()
            self.stream.close()

    @property
    def ticks(self) -> list[Tick]:
        return [event for event in self.watcher.events if isinstance(event, Tick)]

    @property
    def answers(self) -> list[Answer]:
        return [event for event in self.watcher.events if isinstance(event, Answer)]

    def rungs(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for tick in self.ticks:
            found[tick.rung] = round(found.get(tick.rung, 0.0) + tick.command.seconds, 6)
        return found


def fastest(path: Sequence[float]) -> float:
    return float(np.abs(np.diff([0.0, *path])).max()) / PERIOD


def test_sequential_stands_still_while_the_policy_thinks() -> None:
    rig = Rig(lambda number: 0.2, "sequential")
    assert rig.play(4.0)
    assert rig.rungs() == {"hold": 0.8, "playing": 3.2}
    assert fastest(rig.arm.path) <= 0.5 + 1e-9
    assert np.all(np.diff(rig.arm.path) >= -1e-9)


def test_whoever_watches_is_told_why_nothing_of_an_answer_is_played() -> None:
    """A policy that takes longer than its chunk lasts: the arm never moves."""
    rig = Rig(lambda number: 1.5)
    with pytest.raises(InferTimeout, match=r"nothing was played in 6 s, for want of an answer: .*1\.5 s after its obs"):
        rig.play(6.0)
    assert set(rig.rungs()) == {"hold"}
    assert rig.player.fault
    assert rig.answers
    for answer in rig.answers:
        assert answer.dropped is not None
        assert "1.5 s after its observation, and what it says is for 1 s" in answer.dropped


@pytest.mark.parametrize("chunks", ["prefetch", "latest", "blend", "ensemble", "average"])
def test_the_arm_never_waits_once_it_is_known_how_long_an_answer_takes(chunks: str) -> None:
    rig = Rig(lambda number: 0.25, chunks)
    assert rig.play(8.0)
    moving = [tick.rung for tick in rig.ticks if tick.seconds > 2.0]
    assert set(moving) == {"playing"}
    assert fastest(rig.arm.path) <= 0.5 + 1e-6, "a boundary is no faster than the inside of a chunk"
    assert np.all(np.diff(rig.arm.path) >= -1e-9)


@pytest.mark.parametrize("chunks", ["prefetch", "latest", "blend", "ensemble"])
@pytest.mark.parametrize("seed", range(6))
def test_an_arm_that_is_kept_at_any_time_goes_on_from_where_it_stands(chunks: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    rig = Rig(lambda number: float(random.uniform(0.15, 0.35)), chunks)
    for moved in range(5, 900):
        if random.random() < 0.05:
            seconds = float(random.uniform(0.02, 0.25))
            rig.happens[moved] = lambda seconds=seconds: setattr(rig.arm, "late", seconds)
    assert rig.play(12.0)
    assert fastest(rig.arm.path) <= 1.0 + 1e-6


@pytest.mark.parametrize("chunks", ["sequential", "prefetch", "latest", "blend", "ensemble"])
def test_nothing_is_played_that_is_older_than_its_chunk_lasts(chunks: str) -> None:
    random = np.random.default_rng(3)
    rig = Rig(lambda number: float(random.uniform(0.05, 1.4)), chunks)
    rig.play(30.0)
    # A row is as old as the observation that the answer before it was made of.
    at, seen = 0.0, {}
    for event in rig.watcher.events:
        if isinstance(event, Answer):
            at = event.at
        elif isinstance(event, Tick) and event.command.row is not None:
            seen[event.at] = event.at - at
    assert seen
    assert max(seen.values()) < 1.0 + PERIOD
    assert fastest(rig.arm.path) <= 1.0 + 1e-9


def test_an_answer_that_is_overdue_is_told_while_the_rest_is_played_and_then_the_arm_holds() -> None:
    rig = Rig(lambda number: 2.0 if number == 5 else 0.15, "latest")
    rig.play(8.0)
    rungs = rig.rungs()
    assert rungs["rest"] > 0
    assert rungs["hold"] > 0.5
    late = next(i for i, tick in enumerate(rig.ticks) if tick.rung == "rest")
    assert rig.ticks[late - 1].rung == "playing"
    assert {tick.rung for tick in rig.ticks[-10:]} == {"playing"}, "and then it went on"


def test_a_lost_session_costs_the_arm_no_more_than_a_hold() -> None:
    rig = Rig(lambda number: 0.15, "latest")
    rig.policy.fails[4] = ConnectionLost("cut")
    assert rig.play(8.0)
    assert rig.stream.reconnects == 1
    assert [answer.failure for answer in rig.answers if answer.failure] == [("connection_lost", "cut")]
    assert [number for number, answer in enumerate(rig.answers) if answer.anew] == [5], (
        "the next one is a new episode's"
    )
    assert rig.ticks[-1].rung == "playing"
    assert fastest(rig.arm.path) <= 0.5 + 1e-9


@pytest.mark.parametrize("error", [BadMessage("no map"), ShuttingDown("bye"), Idle("make room"), ModelLost("it died")])
def test_whatever_ends_a_session_the_next_one_is_played(error: Any) -> None:
    rig = Rig(lambda number: 0.15, "latest")
    rig.policy.fails[4] = error
    assert rig.play(8.0)
    assert rig.stream.reconnects == 1
    assert rig.ticks[-1].rung == "playing"


def test_a_policy_that_fails_from_the_start_is_a_fault_and_no_long_wait() -> None:
    rig = Rig(lambda number: 0.15, "latest", Patience(1.0, 3.0))
    rig.policy.fails = dict.fromkeys(range(1000), PolicyFailed("it raised"))
    with pytest.raises(PolicyFailed, match="it raised"):
        rig.play(60.0)
    assert rig.rungs() == {"hold": pytest.approx(3.0, abs=0.3)}
    assert not rig.arm.q


@pytest.mark.parametrize("error", [PolicyFailed("it raised"), BadMessage("no map"), ConnectionLost("cut")])
def test_an_episode_in_which_no_answer_could_be_used_was_not_played(error: Any) -> None:
    """And is over before it is a fault: it is one all the same, by the reason that each answer had."""
    rig = Rig(lambda number: 0.15, "latest")
    rig.policy.fails = dict.fromkeys(range(1000), error)
    with pytest.raises(type(error), match=error.text):
        rig.play(2.0)
    assert rig.rungs() == {"hold": 2.0}
    assert rig.player.fault


def test_an_episode_that_is_over_before_the_first_answer_was_not_played_either() -> None:
    rig = Rig(lambda number: 9.0)
    with pytest.raises(InferTimeout, match=r"nothing was played in 2 s, for want of an answer: .*awaited"):
        rig.play(2.0)


@pytest.mark.parametrize("command", [Hold(), TakeOver()])
def test_an_episode_that_a_person_had_is_no_failure_of_the_policy(command: Any) -> None:
    rig = Rig(lambda number: 9.0)
    rig.arm.leader = SimpleNamespace(action=dict)  # type: ignore[attr-defined]
    rig.happens[5] = lambda: rig.controls.post(command)
    if isinstance(command, TakeOver):  # in the end the policy begins anew, for which it is waited
        rig.happens[90] = lambda: setattr(rig.policy, "_due", rig.time.now)
    assert rig.play(2.0)


@pytest.mark.parametrize("error", [PolicyFailed("it raised"), DeadlineExceeded("late"), InferTimeout("too slow")])
def test_a_policy_that_fails_once_is_asked_again_with_another_observation(error: Any) -> None:
    rig = Rig(lambda number: 0.15, "latest")
    rig.policy.fails[3] = error
    assert rig.play(6.0)
    assert rig.ticks[-1].rung == "playing"


def test_what_will_not_heal_ends_the_episode_at_once() -> None:
    rig = Rig(lambda number: 0.15, "latest")
    rig.policy.fails[2] = BadObservation("no such camera")
    with pytest.raises(BadObservation):
        rig.play(6.0)


def test_without_answers_it_is_a_fault_in_the_end_and_says_why() -> None:
    rig = Rig(lambda number: 0.15 if number < 3 else 1e9, "latest", Patience(1.0, 3.0))
    with pytest.raises(
        InferTimeout, match=r"held still 3 s for want of an answer \(patience\.fault_after\): an answer is awaited"
    ):
        rig.play(60.0)
    assert rig.rungs()["hold"] == pytest.approx(3.0 + 0.15, abs=0.2)


HOME = {"target_joints": np.array([-0.4])}


def test_without_answers_the_safe_action_is_played_and_held_and_nobody_is_asked_on_the_way() -> None:
    rig = Rig(lambda number: 0.15 if number < 3 else 9.0 if number == 3 else 1e9, "latest", Patience(1.0, 30.0), HOME)
    rig.play(20.0)
    way = [tick for tick in rig.ticks if tick.rung == "safe_action" and tick.command.action]
    assert rig.arm.q == pytest.approx(-0.4)
    assert fastest(rig.arm.path) <= 1.0 + 1e-9
    assert not [at for at in rig.policy.asked if way[0].at - 1e-9 <= at <= way[-1].at + way[-1].command.seconds - 1e-9]
    assert len(rig.answers) == 3, "what it was asked before is answered too late, about where it is no more"
    assert {tick.rung for tick in rig.ticks if tick.at > way[-1].at} == {"safe_action"}, "and there it holds"
    assert not rig.ticks[-1].command.action


def test_after_the_safe_action_a_fresh_answer_is_played_from_there() -> None:
    rig = Rig(lambda number: 3.0 if number == 3 else 0.15, "latest", Patience(1.0, 30.0), HOME)
    rig.play(12.0)
    rungs = [tick.rung for tick in rig.ticks]
    back = rungs.index("playing", rungs.index("safe_action"))
    assert set(rungs[back:]) == {"playing"}
    assert rig.ticks[back].observation["robot_state.q"] == pytest.approx([-0.4]), "it was observed there"
    assert rig.ticks[back].command.action["target_joints"][0] == pytest.approx(-0.35)
    assert fastest(rig.arm.path) <= 1.0 + 1e-9
    assert rig.arm.q > 0


def test_each_time_that_answers_do_not_come_the_safe_action_is_played() -> None:
    rig = Rig(lambda number: 3.0 if number in (3, 12) else 0.15, "latest", Patience(1.0, 30.0), HOME)
    rig.play(20.0)
    rungs = [tick.rung for tick in rig.ticks]
    begins = [i for i in range(1, len(rungs)) if rungs[i] == "safe_action" != rungs[i - 1]]
    assert len(begins) == 2


def test_a_hold_ends_the_safe_action_and_the_arm_begins_anew() -> None:
    rig = Rig(lambda number: 3.0 if number == 3 else 0.15, "latest", Patience(1.0, 30.0), HOME)
    apply, backwards = rig.arm.apply, list[float]()

    def until_it_is_told_to_hold(action: Mapping[str, Any], seconds: float) -> None:
        if action and action["target_joints"][0] < rig.arm.q:
            backwards.append(rig.arm.q)
            if len(backwards) == 8:
                rig.controls.post(Hold())
        apply(action, seconds)

    rig.arm.apply = until_it_is_told_to_hold
    rig.play(12.0)
    assert len(backwards) == 8, "it did not go on to the safe action"
    assert min(rig.arm.path) > -0.4 + 1e-3
    assert rig.ticks[-1].rung == "playing"


def test_a_fault_waits_until_the_arm_is_safe_and_still_says_why() -> None:
    rig = Rig(lambda number: 0.15, "latest", Patience(1.0, 1.2), HOME)
    rig.policy.fails[3] = ConnectionLost("cut")
    rig.policy.closed = 10**9
    with pytest.raises(ConnectionFailed):
        rig.play(60.0)
    assert rig.arm.q == pytest.approx(-0.4)


def test_a_safe_action_that_the_limits_forbid_is_not_played_but_told() -> None:
    limits = SafetyLimits(workspace_low=None, workspace_high=None, joint_velocity=1.0, joint_low=-0.3, joint_high=9.0)
    rig = Rig(lambda number: 0.15 if number < 3 else 1e9, "latest", Patience(1.0, 30.0), HOME, limits)
    with pytest.raises(InvalidAction, match=r"the way there sends joint 1 to -0\.3\d* rad; -0\.3 … 9 rad are allowed"):
        rig.play(60.0)
    assert not [tick for tick in rig.ticks if tick.rung == "safe_action"]


def test_a_server_that_does_not_come_back_is_the_fault() -> None:
    rig = Rig(lambda number: 0.15, "latest", Patience(1.0, 3.0))
    rig.policy.fails[3] = ConnectionLost("cut")
    rig.policy.closed = 10**9
    with pytest.raises(ConnectionFailed):
        rig.play(60.0)


def test_an_arm_that_is_given_back_while_the_server_is_gone_waits_for_it() -> None:
    rig = Rig(lambda number: 0.15, "latest")
    rig.policy.closed = 1
    led = iter(range(5))

    class Leading:
        def action(self) -> dict[str, Any]:
            if next(led) == 4:
                rig.controls.post(GiveBack())
            return {}

    it: Any = rig.arm
    it.leader = Leading()
    rig.happens[40] = lambda: rig.controls.post(TakeOver())
    assert rig.play(5.0)
    rungs = [rung for rung, _ in itertools.groupby(tick.rung for tick in rig.ticks)]
    assert rungs == ["hold", "playing", "led", "hold", "playing"]
    assert rig.policy.resets == 1


def test_a_server_that_is_another_one_ends_it_at_once() -> None:
    rig = Rig(lambda number: 0.15, "latest", Patience(1.0, 3.0))
    rig.policy.fails[3] = ConnectionLost("cut")
    apply = rig.arm.apply

    def reset() -> None:
        rig.policy.resets += 1
        raise ServerChanged("checkpoint_id was 1 and is 2")

    def applying(action: Mapping[str, Any], seconds: float) -> None:
        apply(action, seconds)
        if len(rig.policy.asked) == 4 and not rig.policy.thinks:  # whoever opens it anew has no clock of the arm's
            assert rig.stream.wait(PATIENCE)

    rig.policy.reset, rig.arm.apply = reset, applying
    with pytest.raises(ServerChanged, match="checkpoint_id was 1 and is 2"):
        rig.play(60.0)
    assert (len(rig.policy.asked), rig.policy.resets) == (4, 1), "no other attempt mends that"
    assert "fault" not in rig.rungs()


def test_before_the_arm_has_moved_a_policy_may_take_its_time() -> None:
    rig = Rig(lambda number: 0.9 if number == 0 else 0.15, "prefetch", Patience(0.2, 0.5))
    assert rig.play(5.0)


def test_the_policy_may_end_the_episode() -> None:
    rig = Rig(lambda number: 0.15, "latest")
    rig.policy.stops_at = 2
    assert rig.play(60.0)
    assert rig.ticks[-1].seconds < 3.0


@pytest.mark.parametrize("chunks", ["prefetch", "latest", "blend", "ensemble"])
@pytest.mark.parametrize("kept", [0.05, 0.33, 0.7])
def test_an_arm_that_was_kept_does_nothing_to_catch_up(chunks: str, kept: float) -> None:
    rig = Rig(lambda number: 0.15, chunks)

    def keep() -> None:
        rig.arm.late = kept

    for at in (150, 165, 200):
        rig.happens[at] = keep
    assert rig.play(9.0)
    assert fastest(rig.arm.path) <= 0.5 + 1e-6, "it stood, and what it was to play stood with it"
    assert len(rig.arm.path) * PERIOD == pytest.approx(9.0 - 3 * kept, abs=0.1), "the episode is as long by the clock"
    assert rig.ticks[-1].rung == "playing"


@pytest.mark.parametrize(("limit", "anew"), [(None, 0), (1000.0, 1)])
def test_what_was_checked_keeps_no_arm_once_more_that_was_kept(
    limit: float | None, anew: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But where the arm, which stands now, has limits of how it may accelerate."""
    rig = Rig(lambda number: 0.15, "prefetch", limits=replace(LIMITS, joint_acceleration=limit))
    checks, check = [], rig.guard.check

    def counted(commands: Any, measured: Any, ahead: float) -> Any:
        checks.append(rig.time.now)
        return check(commands, measured, ahead)

    def keep() -> None:
        rig.arm.late = 0.1

    monkeypatch.setattr(rig.guard, "check", counted)
    rig.happens[165] = keep
    assert rig.play(9.0)
    assert len(checks) == len(rig.answers) + anew, "each answer is checked when it comes"
    assert fastest(rig.arm.path) <= 0.5 + 1e-6


def test_nobody_plays_what_expired_while_the_arm_was_kept() -> None:
    rig = Rig(lambda number: 0.15, "prefetch")

    def keep() -> None:
        rig.arm.late = 5.0

    rig.happens[150] = keep
    rig.play(9.0)
    after = next(i for i, tick in enumerate(rig.ticks) if tick.at > rig.ticks[i - 1].at + 4.0)
    assert rig.ticks[after].rung == "hold"


def test_a_stop_that_comes_while_the_arm_is_measured_plays_nothing_more() -> None:
    rig = Rig(lambda number: 0.15, "latest")
    state, played = rig.arm.state, 0

    def stopped() -> dict[str, Any]:
        nonlocal played
        if len(rig.arm.path) > 100 and not played:
            played = len(rig.arm.path)
            rig.controls.post(Stop())
        return state()

    rig.arm.state = stopped
    assert not rig.play(6.0)
    assert played
    assert len(rig.arm.path) == played


def test_what_was_not_taken_together_is_not_sent_and_the_arm_plays_on() -> None:
    rig = Rig(lambda number: 0.15, "latest", spec={"max_skew": 0.1})
    apart = [104.0, 105.0]
    rig.arm.age = lambda: 0.2 if apart[0] <= rig.time.now < apart[1] else 0.05
    assert rig.play(8.0)
    asked = rig.policy.asked
    assert not [at for at in asked if apart[0] <= at < apart[1]]
    assert min(at for at in asked if at >= apart[1]) < apart[1] + 0.2, "it is asked again as soon as it can be"
    assert {tick.rung for tick in rig.ticks if 4.1 < tick.seconds < 4.5} <= {"playing", "rest"}
    assert rig.ticks[-1].rung == "playing"


def test_a_camera_that_freezes_ends_the_run_by_its_name() -> None:
    rig = Rig(lambda number: 0.15, "latest", spec={"stale_after": 0.5})
    rig.arm.age = lambda: max(rig.time.now - 103.0, 0.0)
    with pytest.raises(RobotFailed, match=r"image\.wrist has frozen"):
        rig.play(60.0)
    assert rig.ticks[-1].at < 103.0 + 0.5 + 1.0


def test_the_report_says_how_long_the_arm_was_on_each_rung() -> None:
    rig = Rig(lambda number: 2.0 if number == 5 else 0.15, "latest")
    rig.play(8.0)
    report = Report()
    report.started(EpisodeInfo(1, 0, 8.0, PERIOD, STEP, {}, 100.0, 0.0))
    for event in rig.watcher.events:
        if isinstance(event, Tick):
            report.ticked(event)
    report.ended(Outcome())
    assert report.as_dict()["rungs_s"] == pytest.approx(rig.rungs(), abs=PERIOD)
    assert report.rungs["hold"] > 0.5
    assert sum(report.rungs.values()) == pytest.approx(report.episodes[0].seconds) == pytest.approx(8.0)


def test_on_a_clock_that_goes_on_a_persons_hold_lasts_until_the_arm_plays_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = Report()
    report.started(EpisodeInfo(1, 0, 15.0, PERIOD, STEP, {}, 100.0, 0.0))
    for rung, seconds in (("playing", 0.0), ("hold", 0.1), ("playing", 30.1), ("led", 30.2)):
        report.ticked(Tick(Command({}, 0.1), rung, 100 + seconds, seconds, {}, 100.0))
    report.ended(Outcome())
    report.started(EpisodeInfo(2, 0, 15.0, PERIOD, STEP, {}, 200.0, 0.0))
    report.ticked(Tick(Command({}, 0.1), "playing", 200.0, 0.0, {}, 100.0))
    report.ended(Outcome())
    assert report.rungs == pytest.approx({"playing": 0.3, "hold": 30.0, "led": 0.1})
    show(report, False)
    assert "playing 0.3 s, hold 30.0 s, led 0.1 s" in capsys.readouterr().out


def test_half_the_speed_is_half_the_speed() -> None:
    rig = Rig(lambda number: 0.15, "prefetch", speed=0.5)
    rig.play(6.0)
    assert fastest(rig.arm.path) == pytest.approx(0.25)


def test_a_robot_whose_time_does_not_pass_by_itself_has_to_say_so() -> None:
    rig = Rig(lambda number: 0.15, "prefetch")
    apply = rig.arm.apply

    def at_once(action: Mapping[str, Any], seconds: float) -> None:
        before = rig.time.now
        apply(action, seconds)
        rig.time.now = before

    rig.arm.apply = at_once
    with pytest.raises(RobotFailed, match="say realtime = False"):
        rig.play(6.0)


@pytest.mark.parametrize("error", [ConnectionLost("cut"), ModelLost("it died"), InferTimeout("hung"), BadMessage("no")])
@pytest.mark.parametrize("back", [False, True])
def test_an_episode_that_ends_while_the_connection_is_gone_says_nothing_of_the_policy(error: Any, back: bool) -> None:
    """Long before the patience is over; also where the next session's first answer is still awaited then."""
    rig = Rig(lambda number: 0.15 if number < 4 else 1e9, "latest")
    rig.policy.fails[3] = error
    rig.policy.closed = 0 if back else 10**9
    with pytest.raises((type(error), ConnectionFailed)):
        rig.settles(4.0)
    assert rig.ticks[-1].rung == "hold"
    assert rig.player.fault


def test_an_answer_that_comes_within_the_patience_was_slow_and_one_that_does_not_is_missing() -> None:
    slow = Rig(lambda number: 0.15 if number < 3 else 5.0, "latest")
    assert slow.settles(4.0)
    assert slow.ticks[-1].rung == "hold"
    hung = Rig(lambda number: 0.15 if number < 3 else 1e9, "latest", Patience(1.0, 5.0))
    looked = list[float]()
    with pytest.raises(InferTimeout, match=r"when the episode ended, and none came in what was left .*awaited"):
        hung.settles(4.0, lambda: looked.append(hung.time.now))
    held = next(tick for tick in hung.ticks if tick.rung == "hold" and tick.seconds > 1.0)
    assert held.seconds < 3.0
    assert looked[-1] == pytest.approx(held.at + 5.0, abs=0.1), "counted from when the arm began to hold"
    assert hung.player.fault


@pytest.mark.parametrize("held", [0.0, 3.0])
def test_an_arm_that_was_held_and_let_go_on_wants_an_answer_at_the_end_too(held: float) -> None:
    """Also where it was held beyond the end; no rung but ``hold`` is reached, for it has not moved since."""
    rig = Rig(lambda number: 0.15 if rig.time.now < 100.5 else 1e9, "latest", Patience(1.0, 5.0))

    def hold() -> None:
        rig.arm.late = held
        rig.controls.post(Hold())

    rig.happens[40] = hold
    looked = list[float]()
    with pytest.raises(InferTimeout, match=r"when the episode ended, and none came in what was left"):
        rig.settles(2.0, lambda: looked.append(rig.time.now))
    assert rig.ticks[-1].rung == "hold"
    assert looked[-1] == pytest.approx(100.9 + held + 5.0, abs=0.15), "counted from when it was let go on"
    assert "fault" not in rig.rungs()


@pytest.mark.parametrize("held", [0.0, 3.0])
def test_an_arm_that_was_let_go_on_and_is_answered_wanted_nothing(held: float) -> None:
    rig = Rig(lambda number: 0.15, "latest")

    def hold() -> None:
        rig.arm.late = held
        rig.controls.post(Hold())

    rig.happens[40] = hold
    assert rig.settles(2.0)
    assert rig.ticks[-1].rung == ("hold" if held else "playing")


def test_a_connection_that_is_lost_on_the_way_to_the_safe_action_is_why() -> None:
    """What was on its way is dropped then, and why it failed is not."""
    rig = Rig(lambda number: 2.6 if number == 3 else 0.15, "latest", Patience(1.0, 30.0), HOME)
    rig.policy.fails[3] = ConnectionLost("cut")
    with pytest.raises(ConnectionLost, match="cut"):
        rig.settles(3.2)


def test_an_answer_that_was_on_its_way_at_the_end_and_fails_is_why() -> None:
    rig = Rig(lambda number: 0.15 if number < 3 else 5.0, "latest")
    rig.policy.fails[3] = ConnectionLost("cut")
    with pytest.raises(ConnectionLost, match="cut"):
        rig.settles(4.0)


def test_what_the_policy_itself_failed_in_is_its_own_at_the_end_too() -> None:
    rig = Rig(lambda number: 0.15, "latest")
    rig.policy.fails = dict.fromkeys(range(3, 1000), PolicyFailed("it raised"))
    assert rig.settles(4.0)
    assert rig.ticks[-1].rung == "hold"


def test_an_arm_that_plays_what_was_answered_to_the_end_wanted_nothing() -> None:
    def cut() -> Rig:
        rig = Rig(lambda number: 0.15, "latest")
        rig.policy.fails[5], rig.policy.closed = ConnectionLost("cut"), 10**9
        return rig

    whole, half = cut(), cut()
    with pytest.raises(ConnectionFailed):
        whole.settles(9.0)
    assert half.settles(next(tick.seconds for tick in whole.ticks if tick.rung == "rest") + 2 * PERIOD)
    assert half.ticks[-1].rung == "rest"
    assert half.answers[-1].failure == ("connection_lost", "cut")


def test_whoever_ends_the_wait_for_the_last_answer_has_ended_the_episode() -> None:
    rig = Rig(lambda number: 0.15 if number < 3 else 1e9, "latest")
    assert not rig.settles(4.0, lambda: rig.controls.post(Stop()))
