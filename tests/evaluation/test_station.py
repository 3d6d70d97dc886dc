"""What a trial counts as on a robot whose clock goes on, whatever became of the answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from offboard_client.drivers import Playing
from offboard_client.errors import ConnectionFailed, ConnectionLost, PolicyFailed
from offboard_client.evaluation import Judgement, Station, Trial, Turn, Watched
from offboard_client.play import (
    Answer,
    Controls,
    EpisodeInfo,
    Hold,
    Outcome,
    Patience,
    Resume,
    RobotLimits,
    Start,
    Stop,
    Tick,
)
from offboard_client.robots import Channel, RobotSpec
from robot_fakes import FakeSession
from waits import PATIENCE

PERIOD = 0.02
TURN = Turn(1, 7, "m", "m")


class Gripper:
    """On the wall clock, and its own task, which says ``success`` at the end."""

    realtime = True
    kinematics: Any = None
    leader = None
    instruction = "close"
    actions = frozenset({"target_grip"})
    control_period = PERIOD
    spec = RobotSpec(
        measures={"grip": Channel(shape=(1,))}, plays={"target_grip": Channel(shape=(1,))}, control_period=PERIOD,
        simulated=True,
    )  # fmt: skip

    def __init__(self, success: bool) -> None:
        self.success, self.grip = success, 0.0

    def reset(self, seed: int) -> None: ...

    def observe(self) -> dict[str, Any]:
        return {"grip": np.array([self.grip], np.float32)}

    state = observe

    def apply(self, action: Mapping[str, Any], seconds: float) -> None:
        self.grip = float(action["target_grip"][0]) if action else self.grip
        time.sleep(seconds)

    def stop(self) -> None: ...

    def succeeded(self) -> bool:
        return self.success


class Session(FakeSession):
    """Answers one row; from the third on ``error`` is raised, and no other session is opened."""

    def __init__(self, error: BaseException | None) -> None:
        answer = [{"action": {"target_grip": np.array([0.5])}, "timestamp": 0.0}]
        super().__init__(*(answer, answer), error or answer, action=("target_grip",))
        self.metadata["action"] = {"target_grip": {}}
        self.error, self.closed = error, False

    def reset(self) -> None:
        if isinstance(self.error, ConnectionFailed):
            raise ConnectionFailed("nobody listens there")

    def close(self) -> None:
        self.closed = True


class Waits:
    """For the task: it is over when the arm has held still for want of an answer that is overdue by far.

    ``asked``: whether it is on its way. A busy machine may take longer than any time of a trial's until then.
    """

    def __init__(self, asked: Callable[[], bool]) -> None:
        self._asked, self._longest, self._ticks = asked, 0.0, 0

    def over(self) -> bool:
        """For the task."""
        return self._ticks * PERIOD >= 2 * self._longest + 0.5

    def started(self, episode: EpisodeInfo) -> None: ...

    def answered(self, answer: Answer) -> None:
        self._longest = max(self._longest, answer.round_trip_ms / 1000)

    def ticked(self, tick: Tick) -> None:
        self._ticks += tick.rung == "hold" and self._asked()

    def ended(self, outcome: Outcome) -> None: ...


def station(success: bool, error: BaseException | None, seconds: float = 1.0, **more: Any) -> Station:
    robot: Any = Gripper(success)
    playing = Playing(patience=Patience(30.0, 60.0))
    return Station(robot, robot, lambda model: Session(error), RobotLimits(), playing, seconds, **more)


def waiting(robot: Any, session: Any, waits: Waits, playing: Playing) -> Station:
    @contextmanager
    def watch(turn: Turn) -> Generator[Watched, None, None]:
        yield Watched([waits])

    robot.over = waits.over
    return Station(robot, robot, lambda model: session, RobotLimits(), playing, PATIENCE, watch=watch)


def played(found: Station) -> Trial:
    trial = found.play(TURN)
    assert trial is not None
    return trial


@pytest.mark.parametrize("success", [True, False])
def test_a_connection_that_is_gone_at_the_end_is_no_stall_and_no_success(success: bool) -> None:
    """Long before the patience is over; if only the successes counted, such a model would look better than it is."""
    session = Session(ConnectionLost("cut"))
    waits = Waits(lambda: len(session.observations) >= 3)
    trial = played(waiting(Gripper(success), session, waits, Playing(patience=Patience(30.0, 60.0))))
    assert (trial.outcome, trial.counted) == ("error", False)
    assert trial.note.startswith("connection")
    assert trial.rungs_s["hold"] > 0


def test_a_model_that_fails_itself_has_stalled() -> None:
    assert played(station(False, PolicyFailed("it raised"))).outcome == "stall"
    assert played(station(False, None)).outcome == "stall"
    assert played(station(True, None)).outcome == "success"


class Hangs(Session):
    """What its third exchange raises is over; the fourth hangs until it is closed."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.asked, self.over = threading.Event(), threading.Event()

    def infer(self, observation: Mapping[str, Any]) -> Any:
        if len(self.observations) == 3:
            self.asked.set()
            self.over.wait(PATIENCE)
        return super().infer(observation)

    def close(self) -> None:
        self.over.set()


@pytest.mark.parametrize("success", [True, False])
def test_an_answer_that_never_comes_is_no_failure_of_the_model_whatever_it_raised_before(success: bool) -> None:
    session, patience = Hangs(PolicyFailed("once")), Patience(30.0, 60.0)

    class Waited(Waits):
        def over(self) -> bool:
            if not super().over():
                return False
            object.__setattr__(patience, "fault_after", 0.1)  # nothing of it is left at the end
            return True

    trial = played(waiting(Gripper(success), session, Waited(session.asked.is_set), Playing(patience=patience)))
    assert (trial.outcome, trial.counted) == ("error", False)
    assert "none came in what was left of its patience" in trial.note
    assert trial.note.endswith("the exchange before it failed (policy_failed: once)")


class DiesWhileHeld(Session):
    """What is on its way when somebody holds the arm is cut, and no other session is opened."""

    def __init__(self) -> None:
        super().__init__(None)
        self.asked, self.dead, self.tried = threading.Event(), threading.Event(), threading.Event()

    def infer(self, observation: Mapping[str, Any]) -> Any:
        if len(self.observations) == 3:
            self.asked.set()
            self.dead.wait(PATIENCE)
            raise ConnectionLost("cut")
        return super().infer(observation)

    def reset(self) -> None:
        if self.dead.is_set():
            self.tried.set()
            raise ConnectionFailed("nobody listens there")

    def close(self) -> None:
        self.dead.set()


class HoldsAndLetsGoOn:
    """Holds the arm while an answer is on its way, and lets it go on when the server is gone."""

    def __init__(self, controls: Controls, session: DiesWhileHeld, late: bool) -> None:
        self._controls, self._session, self._late, self._held, self._since = controls, session, late, False, 0

    def over(self) -> bool:
        """For the task: it has held still for a while since."""
        return self._since > 5

    def started(self, episode: EpisodeInfo) -> None: ...

    def answered(self, answer: Answer) -> None: ...

    def ticked(self, tick: Tick) -> None:
        if not self._held:
            self._held = self._session.asked.is_set()
            if self._held:
                self._controls.post(Hold())
            return
        self._since += 1
        if self._since == 1:
            if not self._late:
                self._session.dead.set()
                assert self._session.tried.wait(PATIENCE)
            self._controls.post(Resume())

    def ended(self, outcome: Outcome) -> None: ...


@pytest.mark.parametrize("success", [True, False])
@pytest.mark.parametrize("late", [False, True])
def test_a_server_that_dies_while_the_arm_is_held_is_no_stall_and_no_success(success: bool, late: bool) -> None:
    """``late``: when the episode is over, and its last answer is awaited."""
    robot: Any = Gripper(success)
    controls, session = Controls(), DiesWhileHeld()

    def succeeded() -> bool:
        threading.Timer(0.5, session.dead.set).start()
        return success

    if late:
        robot.succeeded = succeeded
    observer = HoldsAndLetsGoOn(controls, session, late)
    robot.over = observer.over

    @contextmanager
    def watch(turn: Turn) -> Generator[Watched, None, None]:
        yield Watched([observer])

    playing = Playing(patience=Patience(30.0, 60.0))
    trial = played(
        Station(robot, robot, lambda model: session, RobotLimits(), playing, PATIENCE, controls=controls, watch=watch)
    )
    assert session.tried.is_set()
    assert (trial.outcome, trial.counted) == ("error", False)
    assert trial.note.startswith("connection")


class HangsFrom(Session):
    """Answers as often as ``answers`` says; what is asked then hangs until it is let go, or closed."""

    def __init__(self, answers: int) -> None:
        super().__init__(None)
        self.asked, self.over, self.came = threading.Event(), threading.Event(), threading.Event()
        self._answers = answers

    def infer(self, observation: Mapping[str, Any]) -> Any:
        if len(self.observations) >= self._answers:
            self.asked.set()
            self.over.wait(PATIENCE)
            self.came.set()
        return super().infer(observation)

    def close(self) -> None:
        self.over.set()


class StopsLater:
    """Ends the episode when an answer is overdue by far; before, with ``held``, somebody holds the arm.

    ``comes``: it is answered in the end, while the arm is held.
    """

    def __init__(self, controls: Controls, session: HangsFrom, held: bool = False, comes: bool = False) -> None:
        self._controls, self._session, self._held, self._comes = controls, session, held, comes
        self._longest, self._ticks, self._over = 0.0, 0, False

    def started(self, episode: EpisodeInfo) -> None: ...

    def answered(self, answer: Answer) -> None:
        self._longest = max(self._longest, answer.round_trip_ms / 1000)

    def ticked(self, tick: Tick) -> None:
        if tick.rung != "hold" or not self._session.asked.is_set() or self._over:
            return
        self._ticks += 1
        if self._ticks * PERIOD < 2 * self._longest + 0.5:
            return
        if self._held:
            self._held = False
            self._controls.post(Hold())
            return
        if self._comes:
            self._session.over.set()
            assert self._session.came.wait(PATIENCE)
        self._over = True
        self._controls.post(Stop())

    def ended(self, outcome: Outcome) -> None:
        self._session.over.set()


@pytest.mark.parametrize("said", ["success", "stall"])
@pytest.mark.parametrize(("answers", "held"), [(6, False), (6, True), (0, False)])
def test_a_person_who_ends_a_trial_that_a_server_owes_an_answer_says_nothing_of_the_model(
    said: Any, answers: int, held: bool
) -> None:
    controls, session = Controls(), HangsFrom(answers)
    trial = played(ended_by_hand(controls, session, StopsLater(controls, session, held), said))
    assert (trial.outcome, trial.counted) == ("error", False)
    assert trial.note.startswith("timeout: the arm held still for want of an answer: ")
    assert trial.note.endswith(f"(so it was before the trial was ended, as {said})")


def test_an_answer_that_came_before_a_person_ended_the_trial_was_slow() -> None:
    controls, session = Controls(), HangsFrom(6)
    found = ended_by_hand(controls, session, StopsLater(controls, session, True, True), "stall")
    assert played(found).outcome == "stall"


class StopsAtTheEnd:
    """Stops the episode when it is over, and its last answer is awaited."""

    def __init__(self, controls: Controls, session: HangsFrom) -> None:
        self._controls, self._session, self._longest = controls, session, 0.0
        self.waits = Waits(session.asked.is_set)

    def started(self, episode: EpisodeInfo) -> None: ...

    def answered(self, answer: Answer) -> None:
        self._longest = max(self._longest, answer.round_trip_ms / 1000)
        self.waits.answered(answer)

    def ticked(self, tick: Tick) -> None:
        self.waits.ticked(tick)

    def over(self) -> bool:
        """For the task."""
        return self.waits.over()

    def succeeded(self) -> None:
        """For the task, which is asked at the end."""
        threading.Timer(2 * self._longest + 0.5, lambda: self._controls.post(Stop())).start()

    def ended(self, outcome: Outcome) -> None:
        self._session.over.set()


@pytest.mark.parametrize("said", ["success", "stall"])
def test_a_person_who_ends_the_wait_for_the_last_answer_says_nothing_of_the_model(said: Any) -> None:
    controls, session = Controls(), HangsFrom(6)
    trial = played(ended_by_hand(controls, session, StopsAtTheEnd(controls, session), said))
    assert (trial.outcome, trial.counted) == ("error", False)
    assert trial.note.endswith(f"(so it was before the trial was ended, as {said})")


def ended_by_hand(controls: Controls, session: Session, observer: Any, said: Any) -> Station:
    @contextmanager
    def watch(turn: Turn) -> Generator[Watched, None, None]:
        controls.post(Start())
        yield Watched([observer])

    robot: Any = Gripper(False)
    robot.succeeded = getattr(observer, "succeeded", lambda: None)
    robot.over = getattr(observer, "over", lambda: False)
    return Station(
        robot, robot, lambda model: session, RobotLimits(), Playing(patience=Patience(30.0, 60.0)), PATIENCE,
        controls=controls, watch=watch, attended=True, reviewed=lambda turn, by_task: Judgement(said),
    )  # fmt: skip


class Ends:
    """Ends the episode once the arm holds still after that."""

    def __init__(self, controls: Controls, failed: bool) -> None:
        self._controls, self._failed, self._seen = controls, failed, not failed

    def started(self, episode: EpisodeInfo) -> None: ...

    def answered(self, answer: Answer) -> None:
        self._seen |= answer.failure is not None

    def ticked(self, tick: Tick) -> None:
        if self._seen and (tick.rung == "hold") == self._failed:
            self._controls.post(Stop())

    def ended(self, outcome: Outcome) -> None: ...


@pytest.mark.parametrize("said", ["success", "fail", "stall", "unsafe", "annulled"])
@pytest.mark.parametrize("failed", [True, False])
def test_whatever_a_person_says_of_an_arm_that_had_no_answers_is_not_the_models(said: Any, failed: bool) -> None:
    controls = Controls()

    @contextmanager
    def watch(turn: Turn) -> Generator[Watched, None, None]:
        controls.post(Start())
        yield Watched([Ends(controls, failed)])

    review: Callable[..., Judgement] = lambda turn, by_task: Judgement(said, tags=("slip",), note="it stood")  # noqa: E731
    found = station(
        False, ConnectionLost("cut") if failed else None, PATIENCE, controls=controls, watch=watch, attended=True,
        reviewed=review,
    )  # fmt: skip
    trial = played(found)
    if failed and said != "annulled":
        assert (trial.outcome, trial.tags) == ("error", ("slip",))
        assert trial.note == f"connection_lost: cut (so it was before the trial was ended, as {said}); it stood"
    else:
        assert (trial.outcome, trial.note) == (said, "it stood")
