"""What a session's robot observed a moment ago, for models that look back and robots that do not tell it."""

import numpy as np
import pytest
from offboard_core.engine import Past


def seen(value, tenths=None, **more):
    own = {} if tenths is None else {"obs_time": int(tenths * 1e8)}
    return {"arm": np.array([float(value)]), "task": "go", **own, **more}


def told(past, observation, arrived=0.0):
    return [int(moment["arm"][0]) for moment in past.before(observation, arrived)]


def test_of_each_moment_it_is_what_was_nearest_by_the_robots_own_clock():
    past = Past([-1.1, -0.3], ["arm"])
    asked = [
        told(past, seen(n, tenths, task=str(n)), arrived=n * 60.0) for n, tenths in enumerate((100, 104, 108, 112))
    ]
    assert asked == [[0, 0], [0, 0], [0, 1], [0, 2]]
    [older, newer] = past.before(seen(4, 114), 0.0)
    assert [int(moment["arm"][0]) for moment in (older, newer)] == [1, 3]
    assert older["obs_time"] == int(114e8), "what is not asked for of a moment is the present's"


def test_where_the_robot_has_no_clock_it_is_by_when_they_came():
    past = Past([-1.0], ["arm"])
    assert [told(past, seen(n), at) for n, at in enumerate((5.0, 5.5, 6.1, 7.0))] == [[0], [0], [0], [2]]


def test_after_a_pause_the_present_is_nearer_than_what_was_before_it():
    past = Past([-1.0], ["arm"])
    told(past, seen(1), 0.0)
    assert told(past, seen(2), 60.0) == [2]
    assert told(past, seen(3), 61.0) == [2]


@pytest.mark.parametrize(
    "seen_at",
    [
        [(100, 0.0), (50, 0.5), (110, 1.0)],
        [(100, 0.0), (None, 11.0)],
        [(None, 9.0), (100, 0.5)],
        [(None, 10.0), (None, 5.0), (None, 11.0)],
    ],
    ids=["its clock went back", "its clock is gone", "there is one now", "time went back"],
)
def test_times_of_two_clocks_are_never_compared(seen_at):
    past = Past([-1.0], ["arm"])
    asked = [told(past, seen(n, own), arrived) for n, (own, arrived) in enumerate(seen_at)]
    assert asked == [[n] for n in range(len(seen_at))]


@pytest.mark.parametrize("odd", [2**63, -1, True, 1.5, "now"])
def test_an_odd_clock_is_none(odd):
    past = Past([-1.0], ["arm"])
    past.before({**seen(1), "obs_time": odd}, 0.0)
    assert told(past, {**seen(2), "obs_time": odd}, 60.0) == [2]


def test_a_new_episode_remembers_nothing():
    past = Past([-1.0], ["arm"])
    told(past, seen(1), 0.0)
    past.forget()
    assert told(past, seen(2), 1.0) == [2]


def test_what_is_kept_is_bounded_however_often_it_is_asked_and_is_its_own():
    past = Past([-1.0], ["arm"])
    shared = np.zeros(1)
    for step in range(10_000):
        shared[0] = step
        [moment] = past.before({"arm": shared}, step / 1000)
        assert abs(moment["arm"][0] - max(0, step - 1000)) <= 1000 / 32 + 1
    assert len(past._kept) <= 34


def test_a_name_that_one_moment_lacked_is_the_presents_and_none_is_added():
    past = Past([-1.0], ["arm", "image"])
    told(past, seen(1, image=np.zeros(2)), 0.0)
    [moment] = past.before(seen(2), 1.0)
    assert "image" not in moment
    past.before(seen(3), 2.0)
    [moment] = past.before(seen(4, image=np.ones(2)), 3.0)
    assert (int(moment["arm"][0]), moment["image"][0]) == (3, 1)
