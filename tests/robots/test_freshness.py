"""What was not taken together is no observation; what does not change any more has frozen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from offboard_client.drivers import Freshness
from offboard_client.errors import ConfigurationError, RobotFailed
from offboard_client.robots import Channel, RobotSpec

PATIENCE = Freshness.PATIENCE
NAMES = ("robot_state.q", "image.wrist", "image.exterior")


def freshness(taken: dict[str, float], **limits: float) -> Freshness:
    robot: Any = SimpleNamespace(
        spec=RobotSpec(
            measures={"robot_state.q": Channel(shape=(1,))}, plays={"target_joints": Channel(shape=(1,))},
            control_period=0.01, **limits,
        ),
        taken=taken,
    )  # fmt: skip
    return Freshness(robot)


def test_without_limits_and_without_a_spec_everything_is_together() -> None:
    assert freshness({"image.wrist": 0.0}).together(NAMES, 1000.0)
    robot: Any = object()
    assert Freshness(robot).together(NAMES, 1000.0)


def test_what_says_no_time_was_taken_when_it_was_observed() -> None:
    fresh = freshness({"image.wrist": 99.9}, max_skew=0.2)
    assert fresh.together(NAMES, 100.0)
    assert not fresh.together(NAMES, 100.2)
    assert fresh.together(["image.wrist"], 100.2), "by itself it is no older than anything else"


def test_two_cameras_are_as_far_apart_as_a_camera_and_the_state() -> None:
    fresh = freshness({"image.wrist": 100.0, "image.exterior": 99.7, "robot_state.q": 100.0}, max_skew=0.2)
    assert not fresh.together(NAMES, 100.0)


def test_a_robot_that_takes_nothing_together_fails_by_a_name() -> None:
    taken = {"image.wrist": 0.0}
    fresh = freshness(taken, max_skew=0.2)
    for at in (100.0, 102.0):
        taken["image.wrist"] = at - 0.3
        assert not fresh.together(NAMES, at)
    taken["image.wrist"] = 103.0
    assert fresh.together(NAMES, 103.0), "it has come together, and counts from the beginning again"
    for at in (104.0, 104.0 + PATIENCE - 0.1):
        taken["image.wrist"] = at - 0.3
        assert not fresh.together(NAMES, at)
    taken["image.wrist"] = 104.0 + PATIENCE - 0.3
    with pytest.raises(RobotFailed, match=r"image.wrist is 0.300 s older than .*max_skew allows 0.2 s"):
        fresh.together(NAMES, 104.0 + PATIENCE)


def test_a_camera_that_freezes_is_named() -> None:
    fresh = freshness({"image.wrist": 100.0, "image.exterior": 100.9}, stale_after=1.0)
    assert fresh.together(NAMES, 101.0)
    with pytest.raises(RobotFailed, match=r"image\.wrist has frozen: .* is 1.10 s old, and 1 s are allowed"):
        fresh.together(NAMES, 101.1)


def test_a_time_of_another_clock_switches_no_check_off() -> None:
    """A camera that stamps with the seconds since 1970 would never freeze."""
    with pytest.raises(RobotFailed, match=r"image\.wrist was taken .* of another clock than time\.monotonic"):
        freshness({"image.wrist": 1.8e9}, stale_after=1.0).together(NAMES, 100.0)


def test_a_robot_that_has_observed_nothing_at_all_has_taken_nothing_apart() -> None:
    assert freshness({}, max_skew=0.2, stale_after=1.0).together([], 100.0)


def test_a_time_that_is_no_number_switches_no_check_off() -> None:
    with pytest.raises(RobotFailed, match=r"image\.wrist has frozen"):
        freshness({"image.wrist": float("nan")}, stale_after=1.0, max_skew=1.0).together(NAMES, 100.0)


@pytest.mark.parametrize("name", ["max_skew", "stale_after"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), True, "0.1"])
def test_a_limit_that_is_none_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        freshness({}, **{name: value})
