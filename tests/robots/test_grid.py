"""Deadlines of control periods, on a manual clock."""

from __future__ import annotations

import itertools

import pytest
from offboard_client.robots import ControlGrid

PERIOD = 0.25


class Clock:
    """Seconds that pass when somebody waits; waking takes ``late`` more."""

    def __init__(self) -> None:
        self.now, self.late = 1000.0, 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds + self.late


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def grid(clock: Clock) -> ControlGrid:
    return ControlGrid(PERIOD, clock.wait, clock)


def test_each_deadline_is_the_one_before_it_and_a_period_however_late_one_wakes(
    grid: ControlGrid, clock: Clock
) -> None:
    clock.late = 0.0625
    assert [grid.next() for _ in range(100)] == [1000 + i * PERIOD for i in range(100)]
    grid.rest()
    assert clock.now == 1025 + clock.late
    assert list(grid.times) == [1000, *(1000 + i * PERIOD + clock.late for i in range(1, 100))]


def test_what_takes_less_than_a_period_is_made_up_for(grid: ControlGrid, clock: Clock) -> None:
    grid.next()
    clock.now += 1.5 * PERIOD
    assert [grid.next(), grid.next()] == [1000 + PERIOD, 1000 + 2 * PERIOD]
    assert list(grid.times) == [1000, 1000 + 1.5 * PERIOD, 1000 + 2 * PERIOD]


@pytest.mark.parametrize("idle", [1.0, 60.0])
def test_after_an_idle_time_the_grid_begins_anew_and_says_how_long_that_was(
    grid: ControlGrid, clock: Clock, idle: float
) -> None:
    grid.next()
    clock.now += PERIOD + idle
    assert grid.anew() == idle
    assert grid.anew() == 0
    assert [grid.next(), grid.next()] == [clock.now - PERIOD, clock.now]


def test_nothing_is_sent_faster_to_catch_up(grid: ControlGrid, clock: Clock) -> None:
    """Whoever has fallen behind by more than a period has lost that time."""
    for i in range(20):
        clock.now += (i % 3) * PERIOD
        grid.next()
    gaps = [after - before for before, after in itertools.pairwise(grid.times)]
    # A set-point may follow late on the one before, and the next one be on time again: never two in one period.
    assert all(a + b >= PERIOD for a, b in itertools.pairwise(gaps))
