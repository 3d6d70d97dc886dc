"""Rows on the robot's control periods: what is played, for how long, and what is not."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from offboard_client.chunks import MAX_PAUSE
from offboard_client.errors import InvalidAction
from offboard_client.play import schedule


def rows(*timestamps: Any) -> list[dict[str, Any]]:
    return [{"action": {"target_grip": [i / 10]}, "timestamp": at} for i, at in enumerate(timestamps)]


def played(*timestamps: float, fps: float = 10.0, period: float = 0.02, left: float = math.inf) -> list[Any]:
    """(row, periods) of each command; row None is a hold."""
    commands = schedule(rows(*timestamps), 1 / fps, period, left)
    assert all((command.row is None) == (not command.action) for command in commands)
    return [(command.row, round(command.seconds / period)) for command in commands]


@pytest.mark.rule("R-11", "R-12", "R-13")
def test_a_row_is_played_from_its_timestamp_for_one_action_or_until_the_next_is_due() -> None:
    assert played(0.0, 0.1, 0.2) == [(0, 5), (1, 5), (2, 5)]
    assert played(0.0, 0.04, 0.08) == [(0, 2), (1, 2), (2, 5)]
    assert played(0.1, 0.2, 0.5) == [(None, 5), (0, 5), (1, 5), (None, 10), (2, 5)]


def test_rows_that_fall_between_control_periods_take_the_nearest_one() -> None:
    assert [periods for _, periods in played(*(i / 15 for i in range(6)), fps=15, period=0.01)] == [7, 6, 7, 7, 6, 7]


def test_of_the_rows_in_one_control_period_the_last_is_played() -> None:
    assert played(0.0, 1e-7, 2e-7, 3e-7) == [(3, 5)]
    assert played(0.0, 0.001, 0.002, 0.02, 0.021) == [(2, 1), (4, 5)]
    assert played(*(i / 1000 for i in range(100)), fps=1000) == [(row, 1) for row in (10, 29, 50, 69, 90, 99)]


def test_a_row_shorter_than_a_control_period_is_played_for_one() -> None:
    assert played(0.0, fps=1000) == [(0, 1)]
    assert played(0.0, 0.001, fps=1000) == [(1, 1)]


def test_a_row_that_would_outlast_the_episode_is_not_begun() -> None:
    assert played(0.0, 0.1, 0.2, left=0.25) == [(0, 5), (1, 5), (None, 2)]
    assert played(0.0, left=0.05) == [(None, 2)]
    assert played(0.5, left=0.1) == [(None, 5)]
    assert played(0.0, 0.1, left=0.2) == [(0, 5), (1, 5)]


@pytest.mark.parametrize(
    ("timestamps", "says"),
    [
        ((-0.1,), "got -0.1"),
        ((0.1, 0.1), "got 0.1 after 0.1"),
        ((0.2, 0.1), "got 0.1 after 0.2"),
        ((MAX_PAUSE + 0.01,), "pause of more than 1 s; got 1.01"),
        ((0.0, MAX_PAUSE + 0.11), "got 1.11 after 0"),
        ((1e308,), "pause"),
        ((math.nan,), "must be seconds; got nan"),
        ((math.inf,), "must be seconds"),
        ((True,), "must be seconds; got True"),
        (("0",), "must be seconds"),
        ((None,), "must be seconds; got None"),
    ],
)
def test_times_that_are_none_or_that_nobody_would_wait_for_are_refused(timestamps: tuple[Any, ...], says: str) -> None:
    with pytest.raises(InvalidAction, match=says):
        schedule(rows(*timestamps), 0.1, 0.02)


@pytest.mark.parametrize("row", [{"timestamp": 0.0}, {"action": [0.0] * 7, "timestamp": 0.0}])
def test_a_row_without_a_map_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(InvalidAction, match="must map names to vectors"):
        schedule([row], 0.1, 0.02)


@given(
    st.lists(st.floats(0, 0.3), min_size=1, max_size=30),
    st.floats(0.1, 1000),
    st.floats(0.001, 1),
    st.floats(0.001, 20) | st.just(math.inf),
)
def test_whatever_the_server_says_a_command_lasts_whole_control_periods_and_something_is_played(
    steps: list[float], fps: float, period: float, left: float
) -> None:
    times = [sum(steps[: i + 1]) for i in range(len(steps))]
    times = sorted(set(times))
    commands = schedule(rows(*times), 1 / fps, period, left)
    assert all(command.seconds == round(command.seconds / period) * period for command in commands)
    assert all(command.seconds >= period for command in commands)
    assert sum(command.seconds for command in commands) <= left * (1 + 1e-6) + 1e-9
    assert bool(commands) == (left > period * (1 - 1e-6))
    order = [command.row for command in commands if command.row is not None]
    assert order == sorted(set(order))
