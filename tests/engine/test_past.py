"""What a session's robot observed a moment ago, for models that look back and robots that do not tell it."""

import numpy as np
import pytest
from offboard_core.engine import Past


def seen(value, tenths=None, **more):
    own = {} if tenths is None else {"obs_time": int(tenths * 1e8)}
    return {"arm": np.array([float(value)]), "task": "go", **own, **more}


def told(past, observation, arrived=0.0):
    return [int(moment["arm"][0]) for moment in before(past, observation, arrived)]


def before(past, observation, arrived):
    """Where a codec changes nothing."""
    return past.before(observation, observation, arrived)


def test_of_each_moment_it_is_what_was_nearest_by_the_robots_own_clock():
    past = Past([-1.1, -0.3], ["arm"])
    asked = [
        told(past, seen(n, tenths, task=str(n)), arrived=n * 60.0) for n, tenths in enumerate((100, 104, 108, 112))
    ]
    assert asked == [[0, 0], [0, 0], [0, 1], [0, 2]]
    [older, newer] = before(past, seen(4, 114), 0.0)
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
    before(past, {**seen(1), "obs_time": odd}, 0.0)
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
        [moment] = before(past, {"arm": shared}, step / 1000)
        assert abs(moment["arm"][0] - max(0, step - 1000)) <= 1000 / 32 + 1
    assert len(past._kept) <= 34


@pytest.mark.parametrize(
    ("offsets", "rate"), [([-2.0, -1 / 30], 30), ([-2.0, -2 / 30, -1 / 30], 30), ([-4.0, -0.1], 10), ([-1.0, -0.5], 30)]
)
def test_a_moment_ago_is_found_beside_one_long_ago(offsets, rate):
    """What is kept lies evenly over the longest time; the last question is nearer than that."""
    past = Past(offsets, ["arm"])
    for step in range(400):
        now = step / rate
        moments = before(past, {"arm": np.array([now])}, now)
        if now > -offsets[0]:
            for offset, moment in zip(offsets, moments, strict=True):
                assert abs(float(moment["arm"][0]) - now - offset) <= -offset / 2 + 1e-9, (step, offset)


def test_a_clock_that_went_back_behind_the_last_question_is_another():
    past = Past([-2.0, -0.1], ["arm"])
    for n, tenths in enumerate((100, 100.3)):
        told(past, seen(n, tenths))
    assert told(past, seen(2, 100.2)) == [2, 2]


def held(past):
    moments = [*past._kept, *([] if past._newest is None else [past._newest])]
    return sum(value.nbytes for moment in moments for value in moment.inputs.values())


@pytest.mark.parametrize("offsets", [[-1.0], [-1.0, -1 / 30]])
@pytest.mark.parametrize("shape", [(224, 224, 3), (1080, 1920, 3), (4000, 4000, 3)])
def test_as_many_bytes_are_kept_as_a_session_may_hold_evenly_over_the_time(shape, offsets):
    """Of what a model reads, whatever the robot sends: here images of two cameras, 30 times a second."""
    past, sent = Past(offsets, ["one", "other"]), np.zeros((2160, 3840, 3), np.uint8)
    names, size, most = ("one", "other"), 2 * int(np.prod(shape)), 0
    inputs = {name: np.zeros(shape, np.uint8) for name in names}
    far = 0.0
    for step in range(150):
        now = {"when": np.array(step / 30), **inputs}
        moment, *_ = past.before(dict.fromkeys(names, sent), now, step / 30)
        far = max(far, abs(float(moment["when"]) - max(0.0, step / 30 - 1.0)))
        most = max(most, held(past))
    assert most <= max(64 * 2**20, 2 * size + 16)
    assert far <= 1 / min(32, max(1, 2**26 // size - 1)) + 1 / 30


def test_what_a_codec_made_is_kept_lists_and_maps_are_the_policys_and_the_rest_is_the_presents():
    past = Past([-1.0], ["arm"])
    first = {"arm": np.zeros(3), "extra": np.zeros(3), "task": "go"}
    past.before(first, {**first, "state": np.zeros(2), "images": {"front": [np.zeros(2)]}, "prompt": "go"}, 0.0)
    now = {"arm": np.ones(3), "extra": np.ones(3), "task": "stop"}
    inputs = {**now, "state": np.ones(2), "images": {"front": [np.ones(2)]}, "prompt": "stop"}
    for _ in range(2):
        [moment] = past.before(now, inputs, 1.0)
        assert (moment["arm"][0], moment["extra"][0], moment["state"][0], moment["images"]["front"][0][0]) == (
            0,
            1,
            0,
            0,
        )
        assert (moment["task"], moment["prompt"]) == ("stop", "stop")
        moment["images"]["front"].clear()
    assert len(inputs["images"]["front"]) == 1


def test_a_name_that_one_moment_lacked_is_the_presents_and_none_is_added():
    past = Past([-1.0], ["arm", "image"])
    told(past, seen(1, image=np.zeros(2)), 0.0)
    [moment] = before(past, seen(2), 1.0)
    assert "image" not in moment
    before(past, seen(3), 2.0)
    [moment] = before(past, seen(4, image=np.ones(2)), 3.0)
    assert (int(moment["arm"][0]), moment["image"][0]) == (3, 1)


@pytest.mark.parametrize(
    ("every", "amiss"),
    [(0.4, None), (1.0, None), (1.4, None), (1.6, (-1.0, 0.6)), (2.1, (-1.0, 1.0))],
    ids=["often", "just then", "near it", "not near it", "so seldom that the present is nearer"],
)
def test_that_nothing_was_observed_near_a_moment_is_told(every, amiss):
    past = Past([-1.0], ["arm"])
    told(past, seen(0), 0.0)
    assert past.amiss is None, "an episode that begins has no moment before"
    for n in range(1, 6):
        told(past, seen(n), n * every)
    assert past.amiss == pytest.approx(amiss)
    past.forget()
    told(past, seen(9), 60.0)
    assert past.amiss is None


def test_what_the_server_did_not_keep_is_no_gap_of_the_robots():
    past = Past([-2.0, -1 / 30], ["arm"])
    for step in range(150):
        told(past, seen(step), step / 30)
        assert past.amiss is None
    told(past, seen(150), 150 / 30 + 1.0)
    assert past.amiss is not None
