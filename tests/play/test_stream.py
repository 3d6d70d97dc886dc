"""A stream of actions: a clock moved by hand, and a session that answers when the test says so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from queue import Queue
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from offboard_client.chunks import Step
from offboard_client.errors import (
    BadObservation,
    ConfigurationError,
    ConnectionFailed,
    ConnectionLost,
    InvalidAction,
    OffboardError,
    PolicyFailed,
)
from offboard_client.play import HoldStill, PolicyStream

FPS = 10.0
PATIENCE = 20.0


def rows(first: float, count: int = 4) -> list[dict[str, Any]]:
    return [{"action": {"target_joints": np.array([first + i])}, "timestamp": i / FPS} for i in range(count)]


class Session:
    """Answers each observation with what the test puts into ``answers``: rows, None, or an error."""

    def __init__(self, **meta: Any) -> None:
        self.metadata: Mapping[str, Any] = {"action_fps": FPS, **meta}
        self.timing = SimpleNamespace(last={"wait": 1.0})
        self.observations: Queue[Mapping[str, Any]] = Queue()
        self.answers: Queue[Any] = Queue()
        self.resets: Queue[OffboardError | None] = Queue()
        self.calls: list[str] = []
        self.configured: dict[str, Any] = {}
        self.closed = threading.Event()

    def infer(self, observation: Mapping[str, Any]) -> Sequence[Mapping[str, Any]] | None:
        self.observations.put(observation)
        answer = self.answers.get(timeout=PATIENCE)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def reset(self) -> None:
        self.calls.append("reset")
        if not self.resets.empty() and (error := self.resets.get()) is not None:
            raise error

    def configure(self, **options: Any) -> dict[str, Any]:
        self.calls.append("configure")
        self.configured |= options
        return {name: {"old": None, "new": value} for name, value in options.items()}

    def close(self) -> None:
        self.calls.append("close")
        self.closed.set()
        self.answers.put(ConnectionLost("closed"))


@contextmanager
def playing(session: Session, chunks: str = "prefetch", **options: Any) -> Generator[PolicyStream]:
    stream = PolicyStream(session, chunks, clock=lambda: 0.0, **options)
    try:
        yield stream
    finally:
        stream.close()


def answered(stream: PolicyStream, session: Session, answer: Any, now: float, **observation: Any) -> Any:
    """The stream has asked at ``now``, and the answer is there; what was sent."""
    assert stream.wants(now)
    stream.observe(observation, now)
    sent = session.observations.get(timeout=PATIENCE)
    assert not stream.wants(now), "one observation at a time"
    session.answers.put(answer)
    assert stream.wait(PATIENCE)
    return sent


def value(action: Step | HoldStill) -> float | str:
    return action.reason if isinstance(action, HoldStill) else float(action.action["target_joints"][0])


def test_rows_are_played_by_their_time_and_then_there_is_a_reason_to_hold() -> None:
    session = Session()
    with playing(session, "sequential") as stream:
        assert value(stream.next_action(0.0)) == "no observation was sent yet"
        answered(stream, session, rows(5), 0.0)
        assert [value(stream.next_action(i / FPS)) for i in range(4)] == [5, 6, 7, 8]
        held = stream.next_action(0.4)
        assert isinstance(held, HoldStill)
        assert "played to its end" in held.reason
        assert held.failure is None


def test_an_action_says_how_long_it_is_played_and_what_it_was_made_of() -> None:
    session = Session()
    with playing(session) as stream:
        answered(stream, session, rows(5), 2.0)
        action = stream.next_action(2.0)
        assert isinstance(action, Step)
        assert (action.due, action.until, action.row, action.observed) == pytest.approx((2.0, 2.1, 0, 2.0))


def test_while_the_arm_plays_the_next_answer_is_made() -> None:
    session = Session()
    with playing(session, "latest") as stream:
        answered(stream, session, rows(0), 0.0)
        assert value(stream.next_action(0.0)) == 0
        assert not stream.wants(0.1)
        assert stream.wants(0.2)
        stream.observe({"at": 0.2}, 0.2)
        assert session.observations.get(timeout=PATIENCE)["at"] == 0.2
        assert value(stream.next_action(0.2)) == 2, "the old chunk meanwhile"
        session.answers.put(rows(100))
        assert stream.wait(PATIENCE)
        assert value(stream.next_action(0.3)) == 101


def test_an_answer_that_comes_when_its_chunk_is_over_is_not_played() -> None:
    session = Session()
    with playing(session) as stream:
        answered(stream, session, rows(0), 0.0)
        held = stream.next_action(0.5)
        assert isinstance(held, HoldStill)
        assert "0.5 s after its observation, and what it says is for 0.4 s" in held.reason


def test_what_an_answer_lacked_is_counted_from_its_observation_where_the_arm_stood_meanwhile() -> None:
    """It was told that an answer was for -1.71 s."""
    session = Session()
    with playing(session) as stream:
        stream.observe({"at": 0.0}, 0.0)
        stream.stood(0.9, 1.0)
        session.answers.put(rows(0))
        assert stream.wait(PATIENCE)
        held = stream.next_action(1.1)
        assert isinstance(held, HoldStill)
        assert "the answer came 1.1 s after its observation, and what it says is for 0.4 s" in held.reason


def test_the_horizon_cuts_a_chunk() -> None:
    session = Session()
    with playing(session, horizon_sec=0.2) as stream:
        answered(stream, session, rows(0), 0.0)
        assert [value(stream.next_action(i / FPS)) for i in range(2)] == [0, 1]
        assert isinstance(stream.next_action(0.2), HoldStill)


def test_a_step_that_expired_while_nobody_called_is_not_begun() -> None:
    session = Session()
    with playing(session, horizon_sec=0.25) as stream:
        answered(stream, session, rows(0), 0.0)
        assert [value(stream.next_action(at)) for at in (0.0, 0.1)] == [0, 1]
        assert isinstance(stream.next_action(0.26), HoldStill), "row 2 was due at 0.2, and expired at 0.25"


def test_half_the_speed_takes_twice_the_time() -> None:
    session = Session()
    with playing(session, speed=0.5) as stream:
        answered(stream, session, rows(0), 0.0)
        assert [value(stream.next_action(i / FPS)) for i in range(8)] == [0, 0, 1, 1, 2, 2, 3, 3]
        assert stream.action_period == pytest.approx(0.2)


def test_interrupting_drops_what_is_queued_and_the_answer_on_its_way() -> None:
    session = Session()
    with playing(session, "latest") as stream:
        answered(stream, session, rows(0), 0.0)
        assert value(stream.next_action(0.0)) == 0
        stream.observe({}, 0.2)
        session.observations.get(timeout=PATIENCE)
        other = threading.Thread(target=stream.interrupt, args=("somebody pressed space",))
        other.start()
        other.join(PATIENCE)
        assert value(stream.next_action(0.2)) == "somebody pressed space"
        session.answers.put(rows(100))
        assert stream.wait(PATIENCE)
        assert value(stream.next_action(0.3)) == "somebody pressed space", "it was made before"
        answered(stream, session, rows(200), 0.4)
        assert value(stream.next_action(0.4)) == 200


def test_another_task_is_told_at_once_and_nothing_of_the_old_one_is_played_after_its_answer() -> None:
    session = Session()
    with playing(session, "latest") as stream:
        stream.task = "stack the red cube"
        assert answered(stream, session, rows(0), 0.0, task="the robot's own")["task"] == "stack the red cube"
        assert value(stream.next_action(0.0)) == 0
        assert not stream.wants(0.1)
        stream.task = "stack the green cube"
        assert stream.wants(0.1)
        assert answered(stream, session, rows(100), 0.1)["task"] == "stack the green cube"
        assert value(stream.next_action(0.2)) == 101
        stream.task = "stack the green cube"
        assert not stream.wants(0.2), "it is the same"


def test_none_goes_on_and_asks_again_one_action_later() -> None:
    session = Session()
    with playing(session, "sequential") as stream:
        answered(stream, session, None, 0.0)
        assert value(stream.next_action(0.0)) == "the policy has nothing new to say"
        assert not stream.wants(0.0), "an observation is never sent twice"
        assert stream.wants(0.1)


def test_no_rows_end_the_episode() -> None:
    session = Session()
    with playing(session) as stream:
        answered(stream, session, [], 0.0)
        held = stream.next_action(0.0)
        assert isinstance(held, HoldStill)
        assert held.done
        assert not stream.wants(1.0)
        stream.reset()
        assert stream.wants(1.0)


@pytest.mark.parametrize("error", [BadObservation("no"), PolicyFailed("no")])
def test_after_an_error_what_is_still_valid_is_played_and_a_new_observation_is_sent(error: OffboardError) -> None:
    session = Session()
    with playing(session, "latest") as stream:
        answered(stream, session, rows(0), 0.0)
        assert value(stream.next_action(0.0)) == 0
        answered(stream, session, error, 0.2)
        exchange = stream.landed(0.2)
        assert exchange is not None
        assert exchange.failure is error
        assert value(stream.next_action(0.2)) == 2
        held = stream.next_action(0.4)
        assert isinstance(held, HoldStill)
        assert held.failure is error
        answered(stream, session, rows(50), 0.5)
        assert value(stream.next_action(0.5)) == 50


def test_a_lost_session_is_opened_anew_before_anything_is_observed_for_it() -> None:
    session = Session()
    with playing(session, "latest") as stream:
        answered(stream, session, rows(0), 0.0)
        assert value(stream.next_action(0.0)) == 0
        session.resets.put(ConnectionFailed("not yet"))
        answered(stream, session, ConnectionLost("cut"), 0.2)
        assert value(stream.next_action(0.2)) == 2, "the rest of the chunk is valid"
        assert stream.reconnects == 0
        while not stream.wants(0.4):
            stream.wait(0.01)
        assert stream.reconnects == 1
        assert session.calls == ["reset", "reset"]
        answered(stream, session, rows(50), 0.4)
        assert value(stream.next_action(0.4)) == 50


def test_a_reset_ends_the_attempts_to_open_a_session_anew() -> None:
    session = Session()
    with playing(session) as stream:
        session.resets.put(ConnectionFailed("nobody there"))
        answered(stream, session, ConnectionLost("cut"), 0.0)
        stream.reset()
        assert stream.wants(0.0)


def test_whatever_a_session_raises_is_an_error_with_a_name() -> None:
    session = Session()
    with playing(session) as stream:
        answered(stream, session, SystemExit(3), 0.0)
        held = stream.next_action(0.0)
        assert isinstance(held, HoldStill)
        assert "the policy failed: SystemExit: 3" in held.reason


def test_rows_that_nobody_can_play_are_refused() -> None:
    session = Session()
    with playing(session) as stream:
        answered(stream, session, [{"action": {}, "timestamp": 5.0}], 0.0)
        held = stream.next_action(0.0)
        assert isinstance(held, HoldStill)
        assert isinstance(held.failure, InvalidAction)


def test_what_is_configured_waits_its_turn_and_says_what_it_did() -> None:
    session = Session()
    with playing(session) as stream:
        answered(stream, session, rows(0.0), 0.0)
        before = stream.landed(0.0)
        assert stream.configure(gain=2) == {"gain": {"old": None, "new": 2}}
        answered(stream, session, rows(0.0), 9.0)
        after = stream.landed(9.0)
        assert before is not None
        assert after is not None
        assert (before.configured, after.configured) == ({}, {"gain": 2})


def test_closing_ends_a_wait_and_may_be_repeated() -> None:
    session, before = Session(), set(threading.enumerate())
    stream = PolicyStream(session)
    stream.observe({}, 0.0)
    session.observations.get(timeout=PATIENCE)
    stream.close()
    stream.close()
    assert session.closed.is_set()
    assert set(threading.enumerate()) <= before
    for call in (lambda: stream.observe({}, 1.0), stream.reset):
        with pytest.raises(ConnectionLost):
            call()


def test_what_a_model_wants_to_see_again_is_kept_between_inferences() -> None:
    session = Session(context=["history"], history={"offsets_sec": [-0.2, -0.1], "observation": ["robot_state.q"]})
    with playing(session, "sequential") as stream:
        first = answered(stream, session, rows(0), 0.0, **{"robot_state.q": 0, "image.wrist": 0})
        # What the episode has not lasted long enough for is its first observation.
        assert first["offboard.history"] == [{"robot_state.q": 0}] * 2
        assert value(stream.next_action(0.0)) == 0
        for number in range(1, 4):
            now = number / FPS
            assert stream.wants(now)
            stream.observe({"robot_state.q": number, "image.wrist": number}, now)
            assert session.observations.empty()
        sent = answered(stream, session, rows(0), 0.4, **{"robot_state.q": 4})
        assert sent["offboard.history"] == [{"robot_state.q": 2}, {"robot_state.q": 3}]
        stream.reset()
        again = answered(stream, session, rows(0), 0.5, **{"robot_state.q": 5})
        assert again["offboard.history"] == [{"robot_state.q": 5}] * 2


def test_without_a_history_no_observation_is_wanted_between_inferences() -> None:
    session = Session()
    with playing(session, "sequential") as stream:
        assert "offboard.history" not in answered(stream, session, rows(0), 0.0)
        assert value(stream.next_action(0.0)) == 0
        assert not stream.wants(0.1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: PolicyStream(Session(), "rtc"), "takes nothing"),
        (lambda: PolicyStream(Session(action_fps=None)), "action_fps is null"),
        (lambda: PolicyStream(Session(), speed=0.0), "the speed is 0"),
        (lambda: PolicyStream(Session(), speed=1.5), "the speed is 1.5"),
        (lambda: PolicyStream(Session(), horizon_sec=float("nan")), "horizon_sec is nan"),
    ],
)
def test_what_cannot_be_played_so_is_refused_at_once(make: Callable[[], Any], says: str) -> None:
    before = set(threading.enumerate())
    with pytest.raises(ConfigurationError, match=says):
        make()
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("chunks", ["sequential", "prefetch", "latest", "blend", "ensemble"])
def test_an_answer_about_the_old_task_does_not_put_off_the_question_about_the_new_one(chunks: str) -> None:
    session = Session()
    with playing(session, chunks) as stream:
        stream.task = "old"
        assert stream.wants(0.0)
        stream.observe({}, 0.0)
        assert session.observations.get(timeout=PATIENCE)["task"] == "old"
        stream.task = "new"  # while the answer is on its way
        session.answers.put(rows(0, 20))
        assert stream.wait(PATIENCE)
        assert isinstance(stream.next_action(0.1), Step), "what there is, until the new one is there"
        assert answered(stream, session, rows(100, 20), 0.1)["task"] == "new"
        assert value(stream.next_action(0.2)) >= 100, "nothing of the old one is played past it"


def test_rows_of_other_names_are_an_answer_that_has_failed_and_no_end_of_the_loop() -> None:
    session = Session(context=["prefix", "delay_steps"])
    with playing(session, "rtc") as stream:
        uneven = rows(0)
        uneven[2]["action"]["target_grip"] = np.zeros(1)
        answered(stream, session, uneven, 0.0)
        held = stream.next_action(0.0)
        assert isinstance(held, HoldStill)
        assert isinstance(held.failure, InvalidAction)
