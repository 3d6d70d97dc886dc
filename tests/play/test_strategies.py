"""Chunk strategies on a clock that is moved by hand: what is asked when, and what is played of which answer."""

from __future__ import annotations

import inspect
import math
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from offboard_client.chunks import (
    STRATEGIES,
    ChunkStrategy,
    RealTimeChunking,
    RoundTrips,
    Step,
    choose_strategy,
    lay,
    mixed,
)
from offboard_client.errors import ConfigurationError, InvalidAction

PERIOD = 0.1
STEPS = 10


def rows(values: list[float], grip: float = 0.0) -> list[dict[str, Any]]:
    return [
        {"action": {"target_joints": np.array([value]), "target_grip": np.array([grip])}, "timestamp": i * PERIOD}
        for i, value in enumerate(values)
    ]


@dataclass
class Loop:
    """A robot that plays one step after the other, and a policy that answers ``delays[i]`` seconds after it is asked.

    ``says``: what is answered where the arm stands at a place, the number of the answer beside; by default that it goes
    on from there by 1 in each step.
    """

    strategy: ChunkStrategy
    delays: Callable[[int], float]
    says: Callable[[float, int], list[float]] = lambda place, number: [place + i for i in range(STEPS)]
    horizon: float | None = None
    now: float = 0.0
    place: float = 0.0
    trips: RoundTrips = field(default_factory=RoundTrips)
    played: list[Step | None] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    flight: tuple[float, float, list[float]] | None = None

    def run(self, steps: int) -> Loop:
        for _ in range(steps):
            if self.flight is not None and self.flight[1] <= self.now + 1e-9:
                self.arrive()
            if self.asked[-1:] != [self.now] and self.flight is None and self.strategy.asks(self.now, self.trips.early):
                number = len(self.asked)
                self.asked.append(self.now)
                self.told.append(self.strategy.told(self.now, self.trips.lead))
                self.flight = self.now, self.now + self.delays(number), self.says(self.place, number)
                if self.flight[1] <= self.now:
                    self.arrive()
            step = self.strategy.play(self.now)
            self.played.append(step)
            if step is not None:
                self.place = float(step.action["target_joints"][0]) + 1
            self.now += PERIOD
        return self

    def arrive(self) -> None:
        assert self.flight is not None
        (observed, arrived, values), self.flight = self.flight, None
        self.trips.took(arrived - observed)
        chunk = lay(rows(values, len(self.asked) % 2), observed, PERIOD, self.horizon)
        if (why := self.strategy.take(chunk, self.now)) is not None:
            self.dropped.append(why)

    @property
    def values(self) -> list[float | None]:
        return [None if step is None else round(float(step.action["target_joints"][0]), 6) for step in self.played]

    @property
    def starved(self) -> int:
        """How often nothing was due, once something had been."""
        values = self.values
        return values[next(i for i, each in enumerate(values) if each is not None) :].count(None)


def late(seconds: float) -> Callable[[int], float]:
    return lambda number: seconds


def hundreds(place: float, number: int) -> list[float]:
    return [100.0 * number + i for i in range(STEPS)]


def test_sequential_plays_a_chunk_from_its_arrival_to_its_end_and_asks_then() -> None:
    loop = Loop(choose_strategy("sequential"), late(0.2), hundreds).run(26)
    # The arm stood while the policy thought, so nothing of the chunk is passed over; what is too old is not played.
    assert loop.values == [None, None, *range(8), None, None, *range(100, 108), None, None, *range(200, 204)]


def test_without_a_delay_all_of_a_chunk_is_played() -> None:
    loop = Loop(choose_strategy("sequential"), late(0.0), hundreds).run(20)
    assert loop.values == [*range(10), *range(100, 110)]


def test_prefetch_asks_early_enough_that_the_arm_never_waits() -> None:
    loop = Loop(choose_strategy("prefetch"), late(0.35)).run(100)
    assert loop.values[:4] == [None] * 4
    assert loop.starved == 0
    assert np.allclose(np.diff(loop.values[4:]), 1), "the steps of two chunks follow one another as those of one do"


@pytest.mark.parametrize("name", ["prefetch", "latest", "blend", "ensemble", "rtc"])
def test_answers_that_are_more_and_less_late_starve_no_arm(name: str) -> None:
    # As 50 actions per second are played of a policy of 100 ms with 120 ± 40 ms of network, five times as slow.
    network = random.Random(name)
    loop = Loop(
        choose_strategy(name),
        lambda number: 0.5 + network.uniform(0.4, 0.8),
        lambda place, number: [place + i for i in range(50)],
    )
    assert loop.run(6000).starved == 0


def test_prefetch_waits_for_no_lead_longer_than_it_needs() -> None:
    loop = Loop(choose_strategy("prefetch"), late(0.25)).run(100)
    # Of 10 steps 7 are played: the 3 in which the answer came are the old chunk's.
    assert np.allclose(np.diff(loop.asked)[-5:], 0.7)


def test_one_slow_answer_does_not_make_every_later_one_early() -> None:
    steady = Loop(choose_strategy("prefetch"), late(0.15)).run(400)
    once = Loop(choose_strategy("prefetch"), lambda number: 0.7 if number == 20 else 0.15).run(400)
    assert once.trips.lead == steady.trips.lead
    assert once.starved - steady.starved < 10
    warm = Loop(choose_strategy("prefetch"), lambda number: 9.0 if number == 0 else 0.15, horizon=20.0).run(400)
    assert warm.trips.lead == steady.trips.lead


@pytest.mark.parametrize("name", ["latest", "blend", "ensemble", "weighted_average", "average", "conservative"])
def test_answers_that_agree_are_one_movement(name: str) -> None:
    loop = Loop(choose_strategy(name), late(0.25)).run(100)
    begun = loop.values[3:]
    assert None not in begun
    assert np.allclose(np.diff(begun), 1)


def test_latest_takes_the_newer_answer_from_its_own_time_on() -> None:
    says = lambda place, number: [1000.0 * number + place + i for i in range(STEPS)]  # noqa: E731
    loop = Loop(choose_strategy("latest"), late(0.2), says).run(12)
    # Of the first chunk 8 rows are young enough, so half of it is left at 5. What is said then is of 3 and what
    # follows, and is there at 7, when 5 is due.
    assert loop.values == [None, None, 0, 1, 2, 3, 4, 1005, 1006, 1007, 1008, 1009]


@pytest.mark.parametrize(("name", "weight"), [("weighted_average", 0.7), ("average", 0.5), ("conservative", 0.3)])
def test_lerobots_aggregators_have_lerobots_weights(name: str, weight: float) -> None:
    loop = Loop(choose_strategy(name), late(0.0), lambda place, number: [float(number)] * STEPS).run(8)
    assert loop.values[:6] == [0.0] * 5 + [weight]


def test_latest_only_is_lerobots_name_of_latest() -> None:
    assert STRATEGIES["latest_only"] is STRATEGIES["latest"]


def test_blend_goes_over_from_one_answer_to_the_other_without_a_jump() -> None:
    loop = Loop(choose_strategy("blend"), late(0.0), lambda place, number: [float(number)] * STEPS).run(11)
    assert loop.values[4:10] == pytest.approx([0.0, 0.0, 0.2, 0.4, 0.6, 0.8])


@pytest.mark.parametrize(("name", "weight"), [("weighted_average", 0.7), ("average", 0.5), ("conservative", 0.3)])
def test_lerobots_aggregators_weigh_as_there_and_do_not_jump_where_the_older_answer_ends(
    name: str, weight: float
) -> None:
    loop = Loop(choose_strategy(name), late(0.0), lambda place, number: [float(number)] * STEPS).run(11)
    older = np.array([1.0, 1.0, 0.75, 0.5, 0.25]) * (1 - weight)
    assert loop.values[5:10] == pytest.approx(list(1 - older))


def test_an_ensemble_does_not_jump_where_many_answers_end_at_once() -> None:
    """As of a motion that is planned anew in each step until it is over, and then another one begins."""
    ends, number = 12, iter(range(100))
    says = lambda place, _: [0.0] * (ends - n) if (n := next(number)) < ends - 4 else [10.0] * STEPS  # noqa: E731
    loop = Loop(choose_strategy("ensemble"), late(0.0), says).run(20)
    played = [value for value in loop.values if value is not None]
    assert len(played) == 20
    assert played[-1] == pytest.approx(10)
    assert max(np.diff(played)) < 3, "of 8 answers that end together each says 0, of 4 that go on each says 10"


def test_where_no_other_answer_comes_an_ensemble_goes_over_to_the_newest() -> None:
    """Each of the older ones fades to its end, and ACT's weights are those where the newest begins."""
    delays = lambda number: 0.0 if number < 5 else 99.0  # noqa: E731
    loop = Loop(choose_strategy("ensemble"), delays, lambda place, number: [float(number)] * STEPS).run(14)
    for n in range(4, 14):
        fading = [max(i + STEPS - n, 0) / (i + STEPS - 4) for i in range(4)]
        expected = np.average(range(5), weights=np.exp(-0.01 * np.arange(5)) * [*fading, 1.0])
        assert loop.values[n] == pytest.approx(expected, abs=1e-5)


def test_ensemble_asks_all_the_time_and_averages_all_answers_of_a_moment_the_oldest_most() -> None:
    """As ACT's own evaluation: exp(-0.01 i), the oldest of those that still speak first."""
    said = np.random.default_rng(0).normal(size=(25, STEPS))
    loop = Loop(choose_strategy("ensemble"), late(0.0), lambda place, number: list(said[number])).run(25)
    assert loop.asked == pytest.approx(np.arange(25) / 10)
    expected = list[float]()
    for n in range(25):
        about_now = [said[asked, n - asked] for asked in range(max(0, n - STEPS + 1), n + 1)]
        expected.append(np.average(about_now, weights=np.exp(-0.01 * np.arange(len(about_now)))))
    assert loop.values == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", ["blend", "ensemble", "average"])
def test_the_gripper_does_what_the_newest_answer_says(name: str) -> None:
    loop = Loop(choose_strategy(name), late(0.0)).run(40)
    grips = {float(step.action["target_grip"][0]) for step in loop.played if step is not None}
    assert grips == {0.0, 1.0}


def test_what_was_blended_with_many_answers_can_still_be_looked_at() -> None:
    """A long chunk, asked anew at each step: what is left of an answer is blended with each that follows."""
    strategy, count, period = choose_strategy("blend", 1.0), 80, 0.01
    for answer in range(count + 40):
        now = answer * period
        chunk = [
            {"action": {"target_joints": np.array([float(answer)])}, "timestamp": i * period} for i in range(count)
        ]
        assert strategy.take(lay(chunk, now, period, None), now) is None
        step = strategy.play(now)
        assert step is not None
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 2 * count)  # as few for 80 answers as the usual limit is for hundreds
    try:
        assert 0 <= float(step.action["target_joints"][0]) <= answer
    finally:
        sys.setrecursionlimit(usual)


def test_of_two_arms_each_gripper_decides_and_each_rotation_is_turned() -> None:
    straight, turned = [0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0]
    one = {"target_grip.left": np.array([0.0]), "target_pose.left": np.array(straight, np.float64)}
    other = {"target_grip.left": np.array([1.0]), "target_pose.left": np.array(turned, np.float64)}
    found = mixed([one, other], [0.5, 0.5])
    assert found["target_grip.left"] == 1.0
    assert found["target_pose.left"] == pytest.approx([0, 0, 0, math.sqrt(0.5), math.sqrt(0.5), 0, 0])


def test_rtc_refuses_rows_that_the_model_could_not_be_told_of_again() -> None:
    strategy = choose_strategy("rtc")
    strategy.check({"context": ["prefix", "delay_steps"]})
    uneven = rows([0.0, 1.0, 2.0])
    del uneven[1]["action"]["target_grip"]
    with pytest.raises(InvalidAction, match="different names or shapes"):
        strategy.take(lay(uneven, 0.0, PERIOD, None), 0.0)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.3, 0.95, 1.05, 5.0])
def test_nothing_is_played_after_its_horizon_and_every_row_in_order(name: str, seconds: float) -> None:
    meta = {"context": ["prefix", "delay_steps"]}
    strategy = choose_strategy(name)
    strategy.check(meta)
    random = np.random.default_rng(7)
    loop = Loop(strategy, lambda number: seconds * float(random.uniform(0.5, 1.5)), horizon=0.8).run(120)
    at = 0.0
    for step, now in zip(loop.played, np.arange(len(loop.played)) * PERIOD, strict=True):
        if step is not None:
            assert step.due < step.observed + 0.8
            assert abs(step.due - now) <= PERIOD / 4
            assert step.due >= at
            at = step.due
    if seconds >= 5.0:
        assert loop.values == [None] * len(loop.values)
        assert "nothing of it is left to play" in loop.dropped[0]


def test_of_an_answer_that_comes_when_all_was_played_the_rest_begins_where_the_arm_stands() -> None:
    delays = [0.0, 0.0, 0.8]
    loop = Loop(choose_strategy("latest"), lambda number: delays[min(number, 2)]).run(30)
    values = [value for value in loop.values if value is not None]
    assert None in loop.values
    assert np.all(np.diff(values) <= 1 + 1e-9), "the arm stood, and what it did not play meanwhile was not skipped"


def test_rtc_says_what_is_not_played_yet_and_how_much_of_it_will_be() -> None:
    strategy = choose_strategy("rtc")
    strategy.check({"context": ["delay_steps", "prefix", "seed"]})
    loop = Loop(strategy, late(0.25)).run(60)
    assert loop.told[0] == {}
    told = loop.told[-1]
    prefix = told["offboard.prefix"]["target_joints"][:, 0]
    assert told["offboard.delay_steps"] == 3
    assert prefix[0] == loop.values[round(loop.asked[-1] / PERIOD)], "the first is due when it was observed"
    assert np.allclose(np.diff(prefix), 1)


def test_rtc_is_refused_where_the_model_cannot() -> None:
    strategy = choose_strategy("rtc")
    with pytest.raises(ConfigurationError, match=r"told delay_steps and prefix, .* takes seed .*\(prefix: it clips\)"):
        strategy.check({"context": ["seed"], "context_refused": {"prefix": "it clips"}})
    with pytest.raises(ConfigurationError, match="takes nothing"):
        strategy.check({})


def test_rtc_does_not_go_on_with_what_came_later_than_the_model_was_told() -> None:
    strategy = RealTimeChunking(threshold=0.8)
    strategy.check({"context": ["prefix", "delay_steps"], "max_delay_steps": 3})
    loop = Loop(strategy, lambda number: 0.45 if number == 6 else 0.25).run(100)
    (why,) = loop.dropped
    assert "the model was told 0.3 s, the most that it can answer to" in why
    assert max(told.get("offboard.delay_steps", 0) for told in loop.told) == 3


def test_a_hard_delay_that_the_link_cannot_keep_makes_the_arm_wait_and_never_jump() -> None:
    strategy = RealTimeChunking()
    strategy.check({"context": ["prefix", "delay_steps"], "max_delay_steps": 1})
    loop = Loop(strategy, late(0.35)).run(100)
    values = [value for value in loop.values if value is not None]
    assert loop.starved
    assert loop.dropped
    assert np.all(np.diff(values) <= 1 + 1e-9)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_another_task_takes_the_place_of_all_that_was_for_the_old_one(name: str) -> None:
    strategy = choose_strategy(name)
    old = lay(rows([0.0] * STEPS), 0.0, PERIOD, None)
    new = lay(rows([1.0] * STEPS), 0.3, PERIOD, None)
    assert strategy.take(old, 0.0) is None
    strategy.play(0.3)
    strategy.renew()
    assert strategy.asks(0.3, 0.0), "at once"
    assert strategy.take(new, 0.5) is None
    assert [float(step.action["target_joints"][0]) for step in strategy.steps if step.due > 0.45] == [1.0] * 8


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_what_is_cleared_is_not_played(name: str) -> None:
    strategy = choose_strategy(name)
    strategy.take(lay(rows([0.0] * STEPS), 0.0, PERIOD, None), 0.0)
    strategy.clear()
    assert strategy.play(0.0) is None
    assert strategy.asks(0.0, 0.0)
    strategy.take(lay(rows([5.0] * STEPS), 3.0, PERIOD, None), 3.2)
    assert float(strategy.play(3.2).action["target_joints"][0]) == 5.0  # type: ignore[union-attr]


def test_half_the_speed_takes_twice_the_time() -> None:
    chunk = lay(rows([0.0, 1.0]), 1.0, PERIOD, 0.15, speed=0.5)
    assert [(step.due, step.until) for step in chunk.steps] == [(1.0, 1.2), (1.2, 1.4)]
    assert chunk.expires == pytest.approx(1.3)


@pytest.mark.parametrize(
    ("name", "threshold", "says"),
    [
        ("nonesuch", None, "there is no chunk strategy 'nonesuch'"),
        ("latest", 1.5, "the threshold is 1.5"),
        ("latest", math.nan, "the threshold is nan"),
        ("sequential", 0.5, "takes no threshold; every other strategy does: latest goes over"),
    ],
)
def test_what_cannot_be_meant(name: str, threshold: float | None, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        choose_strategy(name, threshold)


def test_the_slowest_of_a_few_answers_does_not_say_when_the_next_one_comes() -> None:
    trips = RoundTrips()
    for took in (9.0, 0.1, 0.12, 0.7, 0.11):
        trips.took(took)
    assert trips.lead == 0.12


@pytest.mark.parametrize("name", ["sequential", "prefetch", "latest", "blend", "ensemble"])
def test_an_arm_that_stood_and_was_kept_besides_begins_with_the_first_step(name: str) -> None:
    strategy = choose_strategy(name)
    assert strategy.asks(0.0, None)
    strategy.stood(0.2, 0.5)
    assert strategy.take(lay(rows([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), 0.0, PERIOD, None).moved(0.2), 0.5) is None
    step = strategy.play(0.5)
    assert step is not None
    assert step.row == 0


@pytest.mark.parametrize("looks", [4, 0])
def test_an_arm_that_played_to_the_end_and_was_kept_then_goes_on_from_there(looks: int) -> None:
    strategy = choose_strategy("prefetch")
    assert strategy.take(lay(rows([0, 1, 2]), 0.0, PERIOD, None), 0.0) is None
    assert [strategy.play(i * PERIOD) is None for i in range(looks)] == [False, False, False, True][:looks]
    strategy.stood(0.2, 0.8)
    # Observed at 0.1, when two steps were not played yet; those are what it has played of this one, too.
    assert strategy.take(lay(rows([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), 0.1, PERIOD, None).moved(0.2), 0.9) is None
    step = strategy.play(0.9)
    assert step is not None
    assert step.row == 2


@pytest.mark.parametrize("name", ["blend", "ensemble"])
def test_only_what_is_played_is_averaged_for_most_is_replaced_before(name: str) -> None:
    looked: list[str] = []

    class Watched(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            looked.append(key)
            return super().__getitem__(key)

    def chunk(observed: float) -> Any:
        watched = [{**row, "action": Watched(row["action"])} for row in rows([0.0] * STEPS)]
        return lay(watched, observed, PERIOD, None)

    strategy = choose_strategy(name)
    for i in range(5):
        assert strategy.take(chunk(i * PERIOD), i * PERIOD) is None
    assert not looked
    step = strategy.play(4 * PERIOD)
    assert step is not None
    assert float(step.action["target_joints"][0]) == 0
    assert 2 <= looked.count("target_joints") <= 5, "once in each answer"


def test_prefetch_plays_no_answer_that_came_long_before_it_was_needed() -> None:
    loop = Loop(choose_strategy("prefetch"), late(0.15), hundreds).run(11)
    # Asked at once until it is known how early to ask; the plan is the first answer's alone meanwhile.
    assert len(loop.asked) > 3
    assert loop.values[2:9] == [0, 1, 2, 3, 4, 5, 6]
    assert loop.dropped == [], "and what was to say how early to ask is no loss"
    late_one = loop.values[10]
    assert late_one is not None
    assert late_one % 100 < 5, "and then one goes on that was asked shortly before"
