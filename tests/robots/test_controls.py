"""What is posted from anywhere stops an arm within a control period, and nobody waits for anybody."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
from offboard_client.cli import show
from offboard_client.drivers import RunLength, TimedDriver
from offboard_client.errors import PolicyFailed, RobotFailed
from offboard_client.play import (
    WAITING,
    Controls,
    GiveBack,
    Hold,
    Instruct,
    Outcome,
    Quit,
    Report,
    Reset,
    Resume,
    SafetyLimits,
    Sample,
    Start,
    Stop,
    TakeOver,
    Tick,
)
from robot_fakes import POSE, FakeRobot, FakeSession, Watcher, rows

LONG = rows(*(0.1 * number for number in range(20)))


class Arm(FakeRobot):
    """Plays a command in control periods, as :class:`Robot` asks; ``periods`` counts those that it has played.

    ``at[n]`` is called before the n-th of them, which is then awaited until the arm was told to stop, if that is due.
    """

    leader: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.pose = POSE
        self.stopped = threading.Event()
        self.periods = 0
        self.at: dict[int, Callable[[], None]] = {}
        self.stops_by: list[str] = []

    def observe(self) -> dict[str, Any]:
        self.stopped.clear()
        return {**super().observe(), "robot_state.ee_pose": self.pose.copy()}

    def state(self) -> dict[str, Any]:
        return {"robot_state.ee_pose": self.pose.copy()}

    def apply(self, action: Mapping[str, Any], seconds: float) -> None:
        if self.stopped.is_set():
            return
        super().apply(action, seconds)
        for _ in range(round(seconds / self.control_period)):
            if (happens := self.at.pop(self.periods, None)) is not None:
                happens()
            if self.stopped.is_set():
                return
            self.periods += 1

    def stop(self) -> None:
        super().stop()
        self.stops_by.append(threading.current_thread().name)
        self.stopped.set()


class Run:
    """A run whose arm has something happen to it; ``sleeps`` are called in turn while the driver waits for a person."""

    def __init__(self, session: FakeSession, *sleeps: Callable[[], None]) -> None:
        self.arm, self.controls, self.watcher, self.report = Arm(), Controls(), Watcher(), Report()
        self.session, self._sleeps = session, list(sleeps)
        self.slept: list[float] = []

    def post(self, command: Any) -> Callable[[], None]:
        """Another thread posts it; the arm goes on once it was told to stop."""

        def happens() -> None:
            threading.Thread(target=self.controls.post, args=[command]).start()
            assert self.arm.stopped.wait(60), f"{command} did not reach the robot"

        return happens

    def posts(self, *commands: Any) -> Callable[[], None]:
        """They are posted one after the other, without waiting for the robot."""

        def happens() -> None:
            for command in commands:
                self.controls.post(command)

        return happens

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        assert self._sleeps, "the driver waits and nobody will say anything"
        self._sleeps.pop(0)()

    def then(self, *sleeps: Callable[[], None]) -> None:
        self._sleeps += sleeps

    def play(self, episodes: int = 1, seconds: float = 15.0, attended: bool = False) -> None:
        robot: Any = self.arm
        driver = TimedDriver(
            self.session, robot, robot, limits=SafetyLimits(), observers=[self.report, self.watcher],
            controls=self.controls, sleep=self.sleep, attended=attended,
        )  # fmt: skip
        driver.run(RunLength(episodes, seconds))
        assert not any(driver.losses)

    def outcomes(self) -> list[Outcome]:
        return [event for event in self.watcher.events if isinstance(event, Outcome)]


class Seen(Controls):
    """``behind[n]`` is called behind the driver's n-th look."""

    def __init__(self, behind: Mapping[int, Callable[[], None]]) -> None:
        super().__init__()
        self.behind, self.looks = behind, 0

    def take(self) -> list[Any]:
        taken = super().take()
        self.looks += 1
        self.behind.get(self.looks, lambda: None)()
        return taken


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        (Stop(), Outcome(stopped=True)),
        (Reset(), Outcome(stopped=True, kept=False)),
        (Quit(), Outcome(stopped=True)),
    ],
)
def test_what_ends_an_episode_stops_the_arm_within_a_control_period(command: Any, outcome: Outcome) -> None:
    run = Run(FakeSession(LONG))
    run.arm.at[7] = run.post(command)  # in the second of five-period commands
    run.play()
    assert run.arm.periods == 7
    assert run.outcomes() == [outcome]
    assert len(run.session.observations) == 1  # what was left of the chunk was dropped, and no more was asked for
    assert run.arm.stops_by[0] == "offboard-halt"
    assert run.arm.calls.count("succeeded") == 0
    assert (run.report.episodes[0].success, run.report.steps) == (None, 2)
    assert not any(thread.name == "offboard-halt" for thread in threading.enumerate())


def test_a_hold_stops_the_arm_within_a_control_period_and_goes_on_with_a_new_observation() -> None:
    run = Run(FakeSession(LONG, rows(0.0), []))
    run.arm.at[7] = run.post(Hold())
    run.then(lambda: None, run.posts(Resume()))
    run.play()
    assert run.slept == [0.02, 0.02]  # a control period each: what is posted meanwhile is seen within one
    assert run.arm.periods == 7 + 5
    assert len(run.session.observations) == 3
    ticks = [event for event in run.watcher.events if isinstance(event, Tick)]
    assert [tick.rung for tick in ticks] == ["playing", "playing", "hold", "playing"]
    assert not ticks[2].command.action
    assert ticks[2].seconds == ticks[3].seconds  # the episode's time stands
    assert run.report.episodes[0].seconds == pytest.approx(0.3)  # three commands, and not the one that held
    assert run.outcomes() == [Outcome(success=True)]


def test_after_a_hold_the_next_command_is_compared_with_what_is_measured() -> None:
    elsewhere = [0.6, 0.0, 0.3, 0.0, 1.0, 0.0, 0.0]
    run = Run(FakeSession(LONG, rows(0.0, target_pose=elsewhere), []))
    run.arm.at[7] = run.post(Hold())

    def led_away_by_hand() -> None:
        run.arm.pose = np.array(elsewhere)
        run.controls.post(Resume())

    run.then(led_away_by_hand)
    run.play()
    assert run.outcomes() == [Outcome(True)]  # and not refused for a jump from the last command
    assert run.report.steps == 3


def test_a_hold_that_was_taken_back_at_once_drops_the_rest_all_the_same() -> None:
    run = Run(FakeSession(LONG, rows(0.0), []))
    hold, resume = run.post(Hold()), run.posts(Resume())

    def held_for_a_moment() -> None:
        hold()
        resume()

    run.arm.at[7] = held_for_a_moment
    run.play()
    assert run.arm.periods == 7 + 5  # what the robot would not have played, being stopped, was not handed to it
    assert run.report.steps == 3
    assert not run.slept


def test_a_stop_is_measured_from_when_it_was_posted_until_the_robot_has_come_back() -> None:
    """Of several at once from the first; a robot that fails in it has not stopped."""
    now = [5.0]
    controls = Controls(clock=lambda: now[0])
    told, go_on, results = SimpleQueue[int](), threading.Event(), [1, 2, 0]

    def stop() -> None:
        told.put(1)
        assert go_on.wait(60)
        1 // results.pop(0)

    with controls.halting(stop):
        controls.post(Hold())
        told.get(timeout=60)
        now[0] = 5.25
        controls.post(Stop())
        now[0] = 6.0
        controls.post(Quit())
        go_on.set()
        told.get(timeout=60)
    with controls.halting(stop):
        controls.post(Stop())
    # The first of them had told the robot before the clock moved on; the next two were one.
    assert controls.stops == [1.0, 0.75]


def test_an_arm_has_stopped_when_what_it_plays_has_returned_as_well() -> None:
    run, now = Run(FakeSession(LONG)), [5.0]
    run.controls = Controls(clock=lambda: now[0])

    def posts() -> None:
        run.post(Stop())()
        now[0] += 0.008  # until this control period is over

    run.arm.at[7] = posts
    run.play()
    assert run.controls.stops == [pytest.approx(0.008)]


def test_a_person_reads_how_long_a_stop_took(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(FakeSession(LONG, []))
    run.arm.at[7] = run.post(Stop())
    run.then(run.posts(Start()))
    run.play(episodes=2)
    assert len(run.controls.stops) == 1
    run.report.stops = [0.0123, 0.0456]
    assert run.report.as_dict()["stop_ms"] == [12.3, 45.6]
    show(run.report, False)
    assert "2; it was told and stood still in 45.60 ms at most" in capsys.readouterr().out


def test_a_hold_may_end_in_a_stop() -> None:
    run = Run(FakeSession(LONG))
    run.arm.at[7] = run.post(Hold())
    run.then(run.posts(Stop()))
    run.play()
    assert run.outcomes() == [Outcome(stopped=True)]
    assert run.controls.hold


def test_after_a_stop_the_next_episode_waits_for_start() -> None:
    run = Run(FakeSession(LONG, []))
    run.controls.post(Start())  # too early: there is nothing to be started
    run.arm.at[7] = run.post(Stop())
    run.then(run.posts(Stop()), run.posts(Start()))
    run.play(episodes=3)
    assert run.outcomes() == [Outcome(stopped=True), Outcome(True), Outcome(True)]
    assert run.session.resets == 2
    assert len(run.slept) == 2


def test_a_stop_behind_a_start_counts_and_so_does_a_start_behind_a_stop() -> None:
    run = Run(FakeSession(LONG, []))
    run.arm.at[7] = run.posts(Stop(), Start(), Stop())
    run.then(run.posts(Start()))
    run.play(episodes=2)
    assert len(run.slept) == 1
    again = Run(FakeSession(LONG, []))
    again.arm.at[7] = again.posts(Stop(), Start())
    again.play(episodes=2)
    assert again.outcomes() == [Outcome(stopped=True), Outcome(True)]


def test_quit_ends_the_run_and_nothing_takes_it_back() -> None:
    run = Run(FakeSession(LONG))
    run.arm.at[7] = run.posts(Quit(), Stop(), Start())
    run.play(episodes=3)
    assert run.outcomes() == [Outcome(stopped=True)]


@pytest.mark.parametrize("said", [(Reset(), Quit()), (Quit(), Reset()), (Reset(), Stop())])
def test_of_what_was_reset_nothing_is_kept_whatever_else_was_said(said: tuple[Any, Any]) -> None:
    run = Run(FakeSession(LONG, []))
    run.arm.at[7] = run.posts(*said)
    run.then(run.posts(Start()))
    run.play(episodes=2)
    assert [outcome.kept for outcome in run.outcomes()] == [False, True][: 1 + (Quit() not in said)]


def test_who_quits_before_it_begins_sees_nothing_move() -> None:
    run = Run(FakeSession(LONG))
    run.controls.post(Quit())
    run.play()
    assert not run.watcher.events
    assert not run.arm.calls


def test_an_answer_that_comes_after_the_stop_is_not_played() -> None:
    class Posting(FakeSession):
        def infer(self, observation: Mapping[str, Any]) -> Any:
            run.controls.post(Stop())
            return super().infer(observation)

    run = Run(Posting(LONG))
    run.play()
    assert not run.arm.played
    assert run.outcomes() == [Outcome(stopped=True)]


def test_a_robot_that_is_stopped_on_its_way_to_the_start_is_brought_there_again() -> None:
    run = Run(FakeSession([]))
    reset = run.arm.reset

    def interrupted(seed: int) -> None:
        reset(seed)
        if len(run.arm.seeds) == 1:
            run.post(Hold())()

    run.arm.reset = interrupted
    run.then(run.posts(Resume()))
    run.play()
    assert run.arm.seeds == [0, 0]
    assert run.outcomes() == [Outcome(True)]


def test_another_instruction_is_told_from_the_next_inference_on() -> None:
    run = Run(FakeSession(rows(0.0), rows(0.0), []))
    run.arm.at[2] = run.posts(Instruct("fold the towel"))
    run.play()
    assert [seen["task"] for seen in run.session.observations] == ["hold still", "fold the towel", "fold the towel"]


def test_an_arm_without_a_leader_is_not_taken_over(caplog: pytest.LogCaptureFixture) -> None:
    run = Run(FakeSession(rows(0.0), []))
    run.arm.at[2] = run.posts(TakeOver(), GiveBack())
    run.play()
    assert run.outcomes() == [Outcome(True)]
    assert "TakeOver() was ignored" in caplog.text


def test_who_takes_over_leads_the_arm_and_the_policy_goes_on_with_a_new_episode() -> None:
    class Leading:
        def __init__(self) -> None:
            self.asked = 0

        def action(self) -> dict[str, Any]:
            self.asked += 1
            if self.asked == 5:
                run.controls.post(GiveBack())
            return {"target_pose": [0.4, 0.001 * self.asked, 0.3, 0.0, 1.0, 0.0, 0.0]}

    run = Run(FakeSession(LONG, rows(0.0), []))
    leading = run.arm.leader = Leading()
    run.arm.at[7] = run.posts(TakeOver())
    run.play()
    ticks = [event for event in run.watcher.events if isinstance(event, Tick)]
    assert [tick.rung for tick in ticks] == ["playing"] * 2 + ["led"] * 5 + ["playing"]
    assert all(tick.command.seconds == 0.02 for tick in ticks[2:7])
    assert leading.asked == 5
    assert run.session.resets == 1
    assert run.outcomes() == [Outcome(True)]


def test_what_a_leader_asks_for_is_checked_as_the_policys_answers_are() -> None:
    class Jumping:
        def action(self) -> dict[str, Any]:
            return {"target_pose": [0.4, 0.5, 0.3, 0.0, 1.0, 0.0, 0.0]}

    run = Run(FakeSession(LONG))
    run.arm.leader = Jumping()
    run.arm.at[7] = run.posts(TakeOver())
    run.play()
    (outcome,) = run.outcomes()
    assert outcome.failure is not None
    assert outcome.failure[0] == "invalid_action"


def test_an_attended_run_waits_for_a_word_before_each_episode_and_ends_when_somebody_quits() -> None:
    run = Run(FakeSession([]))
    run.then(lambda: None, run.posts(Start()), run.posts(Start()), lambda: None, run.posts(Quit()))
    run.play(attended=True)
    assert run.outcomes() == [Outcome(True), Outcome(True)]
    assert len(run.slept) == 5
    assert run.session.resets == 1


def test_a_start_that_is_said_once_more_while_an_episode_goes_on_begins_no_other_one() -> None:
    run = Run(FakeSession(rows(0.0)), lambda: run.controls.post(Start()), lambda: run.controls.post(Quit()))
    run.arm.at[4] = run.posts(Start())
    run.play(seconds=0.1, attended=True)
    assert run.outcomes() == [Outcome(True)], "the next one waits for a word of its own"


class Idle(Watcher):
    """Wants to see the robot while a person is waited for."""

    idle_hz = 1e6

    def idled(self, sample: Sample) -> None:
        self.events.append(sample)  # type: ignore[arg-type]


def test_whoever_wants_it_sees_the_robot_while_a_person_is_waited_for() -> None:
    """Before an episode and in a hold; the driver says when it waits for a start."""
    waits = list[bool]()
    run = Run(FakeSession(LONG, []))
    run.watcher = Idle()
    run.then(lambda: waits.append(run.controls.waiting), run.posts(Start()))
    run.arm.at[7] = run.posts(Hold())
    run.then(lambda: waits.append(run.controls.waiting), run.posts(Resume()), run.posts(Quit()))
    run.play(attended=True)
    assert waits == [True, False]
    kinds = "".join(
        {"EpisodeInfo": "(", "Outcome": ")", "Sample": "."}.get(type(e).__name__, "") for e in run.watcher.events
    )
    assert kinds == "..(..)."
    assert not run.controls.waiting


def test_a_robot_that_cannot_be_seen_yet_is_played_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    run = Run(FakeSession([]))
    run.watcher = Idle()
    run.arm.fails["observe"] = OSError("no picture before the first reset")
    run.then(lambda: None, run.arm.fails.clear, run.posts(Start()), run.posts(Quit()))
    run.play(attended=True)
    assert run.outcomes() == [Outcome(True)]
    assert caplog.text.count("the robot is not shown while a person is waited for") == 1


def test_an_attended_run_may_be_of_so_many_episodes() -> None:
    run = Run(FakeSession([]), lambda: run.controls.post(Start()))
    robot: Any = run.arm
    driver = TimedDriver(
        run.session, robot, robot, limits=SafetyLimits(), observers=[run.watcher], controls=run.controls,
        sleep=run.sleep, attended=True,
    )  # fmt: skip
    driver.run(RunLength(1, 15.0), endless=False)
    assert run.outcomes() == [Outcome(True)]


@pytest.mark.parametrize("command", [Hold(), Stop()])
def test_a_robot_that_cannot_stop_has_failed_and_is_driven_no_further(
    command: Any, caplog: pytest.LogCaptureFixture
) -> None:
    failed = threading.Event()

    class Deaf(Arm):
        def stop(self) -> None:
            if threading.current_thread().name == "offboard-halt":
                failed.set()
                raise OSError("no such bus")

    run = Run(FakeSession(LONG, rows(0.0), []))
    run.arm = Deaf()

    def happens() -> None:
        run.controls.post(command)
        assert failed.wait(60)

    run.arm.at[7] = happens
    run.then(*[lambda: None] * 3)
    with pytest.raises(RobotFailed, match=r"did not stop when it was told to: .* OSError: no such bus"):
        run.play()
    assert run.arm.periods == 10
    assert [outcome.failure and outcome.failure[0] for outcome in run.outcomes()] == ["robot_failed"]
    assert "OSError: no such bus" in caplog.text


def test_it_is_attended_only_while_the_arm_moves() -> None:
    seen: dict[str, bool] = {}

    class Asking(FakeSession):
        def infer(self, observation: Mapping[str, Any]) -> Any:
            seen["answer"] = run.controls.attended
            return super().infer(observation)

    run = Run(Asking(rows(0.0), []))
    run.arm.at[2] = lambda: seen.update(motion=run.controls.attended)
    run.play()
    assert seen == {"motion": True, "answer": False}
    assert not run.controls.attended


def test_commands_are_taken_once_in_their_order_and_hold_is_a_state() -> None:
    controls = Controls()
    for command in (Start(), Hold(), Instruct("x"), Stop(), Resume(), Start(), Hold()):
        controls.post(command)
    assert controls.take() == [Start(), Instruct("x"), Stop(), Start()]
    assert controls.take() == []
    assert controls.hold


def test_where_too_many_wait_only_what_ends_finds_a_place_and_each_once() -> None:
    controls = Controls()
    for _ in range(WAITING):
        controls.post(Start())
    for command in (Start(), Stop(), Instruct("x"), Stop(), Quit(), Stop(), Quit(), Reset()):
        controls.post(command)
    assert controls.take() == [Start()] * WAITING + [Stop(), Quit(), Reset()]
    assert controls.refused == 5


def test_who_posts_waits_for_nobody() -> None:
    controls, inside, go = Controls(), threading.Event(), threading.Event()

    def stuck() -> None:
        inside.set()
        assert go.wait(60)

    with controls.halting(stuck):
        controls.post(Stop())
        assert inside.wait(60)
        controls.post(Stop())  # returns, while the robot does not
        assert controls.take() == [Stop(), Stop()]
        go.set()


def test_the_robot_is_told_when_what_was_posted_can_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Watched(SimpleQueue[bool]):
        def put(self, item: bool, *more: Any) -> None:
            seen.append(controls.take() or controls.hold)
            super().put(item, *more)

    monkeypatch.setattr("offboard_client.play.controls.SimpleQueue", Watched)
    controls = Controls()
    with controls.halting(lambda: None):
        for command in (Stop(), Quit(), Reset(), Hold()):
            controls.post(command)
    assert seen[:-1] == [[Stop()], [Quit()], [Reset()], True]


def test_a_halt_that_comes_when_the_driver_has_just_looked_is_not_forgotten() -> None:
    class Halting(Seen):
        @contextmanager
        def halting(self, halt: Callable[[], None]) -> Generator[None, None, None]:
            self.halt = halt
            yield

    run = Run(FakeSession([]))
    controls = run.controls = Halting({2: lambda: controls.halt()})  # noqa: PLW0108  it has none yet
    run.play()
    assert run.arm.seeds == [0, 0]  # the robot, being stopped, may not have come to the start
    assert run.outcomes() == [Outcome(True)]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for in vain is not waited for long."""
    for user in ("play.controls", "drivers.attention", "robots.calls"):
        monkeypatch.setattr(f"offboard_client.{user}.STOPPING", 0.05)


class Hanging(Arm):
    """Does not come back from ``stop`` until it is let go, whoever tells it to; ``inside`` once it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.go = threading.Event(), threading.Event()

    def stop(self) -> None:
        super().stop()
        self.inside.set()
        assert self.go.wait(60)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("look", "before"), [(1, []), (4, ["reset"])], ids=["before a motion", "before it observes"])
def test_nothing_is_asked_of_a_robot_until_it_has_come_back_from_stop(look: int, before: list[str]) -> None:
    """Or it would be let go on before it has stopped; and one that never comes back ends the run."""
    arm = Hanging()

    def held_for_a_moment() -> None:
        run.controls.post(Hold())
        assert arm.inside.wait(60)
        run.controls.post(Resume())

    run = Run(FakeSession(LONG))
    run.arm, run.controls = arm, Seen({look: held_for_a_moment})
    try:
        with pytest.raises(RobotFailed, match=r"^the robot did not come back from stop within 0\.05 s of [^:]*$"):
            run.play()
    finally:
        arm.go.set()
    assert arm.calls == [*before, "stop", "stop"]  # the second in the end, whatever has happened
    assert not arm.played


@pytest.mark.usefixtures("impatient")
def test_a_robot_that_hangs_in_stop_is_told_when_it_moves_and_ends_the_run() -> None:
    run = Run(FakeSession(LONG))
    run.arm = arm = Hanging()
    arm.at[7] = run.post(Stop())
    try:
        with pytest.raises(RobotFailed, match=r"^the robot did not come back from stop within 0\.05 s of [^:]*$"):
            run.play(episodes=3)
    finally:
        arm.go.set()
    assert arm.periods == 7
    assert [outcome.failure and outcome.failure[0] for outcome in run.outcomes()] == ["robot_failed"]


def test_an_arm_is_told_to_stop_while_its_observation_hangs() -> None:
    """And where that lets it go on in the end, nothing that was planned is handed to it."""

    class Slow(Arm):
        def observe(self) -> dict[str, Any]:
            if not self.stops_by:
                run.post(Hold())()  # returns when it was told to stop
                run.controls.post(Resume())
            return super().observe()

    run = Run(FakeSession(LONG, []))
    run.arm = Slow()
    run.play()
    assert run.arm.stops_by[0] == "offboard-halt"
    assert not run.arm.played
    assert len(run.session.observations) == 2
    assert run.outcomes() == [Outcome(True)]


def test_a_key_that_is_leaned_on_tells_a_slow_robot_once_more_and_no_closed_one() -> None:
    controls, inside, go, told = Controls(), threading.Event(), threading.Event(), SimpleQueue[int]()

    def slow() -> None:
        told.put(1)
        inside.set()
        assert go.wait(60)

    with controls.halting(slow):
        controls.post(Stop())
        assert inside.wait(60)
        inside.clear()
        for _ in range(50):
            controls.post(Hold())
        go.set()
        assert inside.wait(60)
    assert told.qsize() == 2


@pytest.mark.usefixtures("impatient")
def test_one_that_comes_back_from_stop_when_the_run_is_over_is_not_told_again() -> None:
    controls, inside, go, told = Controls(), threading.Event(), threading.Event(), SimpleQueue[threading.Thread]()

    def stuck() -> None:
        told.put(threading.current_thread())
        inside.set()
        assert go.wait(60)

    with controls.halting(stuck):
        controls.post(Stop())
        assert inside.wait(60)
        controls.post(Quit())
    go.set()
    thread = told.get()
    thread.join(60)
    assert not thread.is_alive()
    assert told.empty()


@pytest.mark.parametrize("said", [Stop(), Reset()])
@pytest.mark.parametrize("answer", [[], rows(0.0), OSError("no route")], ids=["it ends", "time is up", "it fails"])
def test_what_ends_an_episode_as_it_ends_by_itself_counts(said: Any, answer: Any) -> None:
    """The operator has said that nothing of it is to be kept, or judged, whatever else happened in that moment."""

    class Ending(FakeSession):
        def infer(self, observation: Mapping[str, Any]) -> Any:
            if not isinstance(answer, list) or not answer:
                run.controls.post(said)
            return super().infer(observation)

    run = Run(Ending(PolicyFailed("no route") if isinstance(answer, OSError) else answer))
    if isinstance(answer, list) and answer:
        run.arm.at[4] = run.posts(said)  # the last period of the last command
    run.play(seconds=0.1)
    (outcome,) = run.outcomes()
    assert outcome.kept == isinstance(said, Stop)
    assert outcome.success is not True
    assert "succeeded" not in run.arm.calls
