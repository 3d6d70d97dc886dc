"""Who is waited for, and until when: times are given, none is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from offboard_core.engine import LONGEST_IN_ALL, OVERDUE_S, OVERDUE_TIMES, REMEMBERED, SOON, BatchWindow

INFERENCE = 0.020
BACK = 0.002


def comes_back(window: BatchWindow, session: str, after: float, times: int = 1, at: float = 0.0) -> float:
    """The session is answered and asks again ``after`` seconds, so many times; when it was there the last time."""
    for _ in range(times):
        at += INFERENCE
        window.served([session], INFERENCE, at)
        at += after
        window.came(session, at)
    return at


def test_nobody_is_expected_before_anybody_was_served():
    assert BatchWindow().until(0.0, 0.0) is None
    window = BatchWindow()
    window.came("a", 0.0)
    assert window.until(0.0, 0.0) is None


def test_a_session_of_which_nothing_is_known_is_not_waited_for():
    window = BatchWindow()
    window.served(["a", "b"], INFERENCE, 1.0)
    assert window.until(1.0, 1.0) is None


def test_a_lone_robot_never_waits():
    window = BatchWindow()
    at = 0.0
    for _ in range(2 * REMEMBERED):
        at = comes_back(window, "a", BACK, at=at)
        assert window.until(at, at) is None


def test_who_came_back_at_once_is_waited_for_until_it_is_overdue():
    window = BatchWindow()
    at = comes_back(window, "b", BACK)
    window.served(["a", "b"], INFERENCE, at + INFERENCE)
    answered = at + INFERENCE
    due = answered + OVERDUE_TIMES * BACK + OVERDUE_S
    assert window.until(answered, answered) == pytest.approx(due)
    assert window.until(answered, answered + 0.001) == pytest.approx(due), "the same moment, whenever it is asked"
    assert window.until(answered, due) is None
    window.came("b", answered + 0.001)
    assert window.until(answered, answered + 0.001) is None, "it is there"


@pytest.mark.parametrize("pause", [0.080, 1.001 * SOON * INFERENCE])
def test_a_robot_that_asks_now_and_then_is_not_waited_for(pause):
    window = BatchWindow()
    at = comes_back(window, "periodic", pause, times=REMEMBERED)
    window.served(["periodic"], INFERENCE, at + INFERENCE)
    assert window.until(at + INFERENCE, at + INFERENCE) is None


def test_all_of_them_together_are_not_waited_for_longer_than_a_quarter_of_an_inference():
    window = BatchWindow()
    at = comes_back(window, "a", 0.9 * SOON * INFERENCE)
    window.served(["a"], INFERENCE, at + INFERENCE)
    began = at + INFERENCE
    assert window.until(began, began) == pytest.approx(began + LONGEST_IN_ALL * INFERENCE)
    assert window.until(began, began + LONGEST_IN_ALL * INFERENCE) is None


def test_one_odd_time_changes_nothing():
    window = BatchWindow()
    at = comes_back(window, "a", BACK, times=REMEMBERED)
    at = comes_back(window, "a", 3.0, at=at)
    window.served(["a"], INFERENCE, at + INFERENCE)
    assert window.until(at + INFERENCE, at + INFERENCE) is not None

    at = comes_back(window, "b", 3.0, times=REMEMBERED, at=at)
    at = comes_back(window, "b", BACK, at=at)
    window.forget("a")
    window.served(["b"], INFERENCE, at + INFERENCE)
    assert window.until(at + INFERENCE, at + INFERENCE) is None


def test_of_two_times_the_longer_one_counts():
    window = BatchWindow()
    at = comes_back(window, "a", 3.0)
    at = comes_back(window, "a", BACK, at=at)
    window.served(["a"], INFERENCE, at + INFERENCE)
    assert window.until(at + INFERENCE, at + INFERENCE) is None


def test_who_changes_its_ways_is_known_by_the_new_ones():
    window = BatchWindow()
    at = comes_back(window, "a", 0.080, times=REMEMBERED)
    at = comes_back(window, "a", BACK, times=REMEMBERED // 2 + 1, at=at)
    window.served(["a"], INFERENCE, at + INFERENCE)
    assert window.until(at + INFERENCE, at + INFERENCE) is not None


def test_who_is_gone_is_not_waited_for():
    window = BatchWindow()
    at = comes_back(window, "a", BACK)
    window.served(["a"], INFERENCE, at + INFERENCE)
    assert window.until(at + INFERENCE, at + INFERENCE) is not None
    window.forget("a")
    assert window.until(at + INFERENCE, at + INFERENCE) is None
    window.forget("a")  # nor is it an error to be gone already


def test_what_was_sent_before_the_answer_counts_as_coming_at_once():
    window = BatchWindow()
    at = comes_back(window, "a", -0.5)
    window.served(["a"], INFERENCE, at + INFERENCE)
    assert window.until(at + INFERENCE, at + INFERENCE) == pytest.approx(at + INFERENCE + OVERDUE_S)


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 0.2), st.floats(1e-5, 5.0)), min_size=1, max_size=30),
    st.floats(0, 1),
)
def test_every_wait_ends_within_a_quarter_of_the_longest_inference(steps, waited):
    window, at, longest = BatchWindow(), 0.0, 0.0
    for session, after, seconds in steps:
        window.came(session, at + after)
        at += after + seconds
        longest = max(longest, seconds)
        window.served([session], seconds, at)
        until = window.until(at, at)
        assert until is None or at < until <= at + LONGEST_IN_ALL * longest
        until = window.until(at, at + waited)
        assert until is None or at + waited < until <= at + LONGEST_IN_ALL * longest
