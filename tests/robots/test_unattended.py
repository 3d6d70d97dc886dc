"""A run that nobody watches: which faults end it, and what it says of lost sessions."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from offboard_client.cli import Display, status, table
from offboard_client.drivers import Playing, RunLength, TimedDriver
from offboard_client.errors import ConnectionFailed, PolicyFailed
from offboard_client.play import (
    Answer,
    Command,
    EpisodeInfo,
    Outcome,
    Patience,
    Report,
    Rung,
    SafetyLimits,
    Tick,
)
from offboard_client.terminal import Line
from rich.console import Console
from robot_fakes import FakeRobot

PATIENCE = 60.0
#: Seconds by the arm's clock, which only moves when the arm does: far more than any answer takes to come.
LONG = 3600.0


class Arm(FakeRobot):
    """Holds still on a clock of its own, from when the policy has answered for the first time."""

    realtime = True

    def __init__(self, answered: threading.Event) -> None:
        super().__init__()
        self.now, self._answered = 0.0, answered

    def state(self) -> dict[str, Any]:
        return self.observe()

    def apply(self, action: Mapping[str, Any], seconds: float) -> None:
        assert self._answered.wait(PATIENCE)
        self.now += seconds


class Session:
    """In the episodes ``fails`` each answer is ``error``; in the others the policy says at once that it is done."""

    def __init__(self, error: BaseException, fails: frozenset[int]) -> None:
        self.metadata: Mapping[str, Any] = {"action_fps": 10.0, "action": {"target_pose": {}}}
        self.timing = SimpleNamespace(last={})
        self.answered = threading.Event()
        self.episode, self._error, self._fails = 0, error, fails
        self.closed = False

    def infer(self, observation: Mapping[str, Any]) -> Any:
        self.answered.set()
        if self.episode in self._fails:
            raise self._error
        return []

    def reset(self) -> None:
        if self.closed or isinstance(self._error, ConnectionFailed):
            raise ConnectionFailed("nobody listens there")
        self.episode += 1

    def close(self) -> None: ...


def run(error: BaseException, *fails: int, episodes: int = 8) -> Report:
    session = Session(error, frozenset(fails))
    robot: Any = Arm(session.answered)
    report = Report()
    driver = TimedDriver(
        session, robot, robot, limits=SafetyLimits(), observers=[report],
        playing=Playing("latest", patience=Patience(0.5, 1.0)), clock=lambda: robot.now,
    )  # fmt: skip
    driver.run(RunLength(episodes=episodes, seconds=LONG))
    report.gave_up = driver.gave_up
    return report


def text(report: Report) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table(report))
    return captured.get()


def test_three_faults_in_a_row_end_the_run_and_say_so() -> None:
    report = run(PolicyFailed("no idea"), 0, 1, 3, 4, 5, 6, 7)
    assert [episode.failure for episode in report.episodes] == [
        ("policy_failed", "no idea"), ("policy_failed", "no idea"), None, *[("policy_failed", "no idea")] * 3
    ]  # fmt: skip
    assert report.gave_up == "3 faults in a row; 2 episodes not played"
    assert report.as_dict()["gave_up"] == report.gave_up
    assert report.gave_up in text(report)
    assert status(report) == 1


def test_fewer_fail_their_episodes_only() -> None:
    report = run(PolicyFailed("no idea"), 0, 1, 3, 4, episodes=5)
    assert len(report.episodes) == 5
    assert report.gave_up is None
    assert status(report) == 0


def test_a_server_that_does_not_come_back_fails_its_episode_and_then_the_run() -> None:
    session = Session(ConnectionFailed("nobody listens there"), frozenset({0}))
    robot: Any = Arm(session.answered)
    report = Report()
    driver = TimedDriver(
        session, robot, robot, limits=SafetyLimits(), observers=[report],
        playing=Playing("latest", patience=Patience(0.5, 1.0)), clock=lambda: robot.now,
    )  # fmt: skip
    with pytest.raises(ConnectionFailed):
        driver.run(RunLength(episodes=8, seconds=LONG))
    assert [episode.failure and episode.failure[0] for episode in report.episodes] == ["connection", "connection"]
    assert status(report) == 1


def test_answers_of_which_nothing_is_played_are_counted_and_the_reason_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = Report()
    display = Display(Line(), 3, 10.0)
    for watcher in (report, display):
        watcher.started(EpisodeInfo(1, 0, 10.0, 0.02, 0.1, {}, 0.0, 0.0))
        for late in ("2 s too late", "3 s too late"):
            watcher.answered(Answer({}, [{}], 0.0, 0.0, 5.0, {}, dropped=late))
        watcher.answered(Answer({}, [{}], 0.0, 0.0, 5.0, {}))
    said = capsys.readouterr().err
    assert said.count("episode 1/3: nothing of a chunk is played: 2 s too late") == 1
    assert "3 s" not in said, "once is enough while it goes on"
    assert (report.as_dict()["unplayed"], report.as_dict()["unplayed_why"]) == (2, "3 s too late")
    assert "2 chunks: 3 s too late" in text(report)


def test_a_session_that_was_lost_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    display = Display(Line(), 3, 10.0)
    for watcher in (report, display):
        watcher.started(EpisodeInfo(1, 0, 10.0, 0.02, 0.1, {}, 0.0, 0.0))
        watcher.answered(Answer({}, [], 0.0, 0.0, 5.0, {}))
        watcher.answered(Answer({}, [], 1.0, 0.0, 5.0, {}, anew=True))
    said = capsys.readouterr().err
    assert said.count("episode 1/3: the policy began a new episode: its session was lost") == 1
    assert report.as_dict()["reconnects"] == 1
    assert report.as_dict()["episode_log"][0]["reconnects"] == 1
    assert "the policy began a new episode each time" in text(report)


def test_what_was_configured_is_in_the_record_of_the_episode() -> None:
    report = Report()
    report.started(EpisodeInfo(1, 0, 10.0, 0.02, 0.1, {}, 0.0, 0.0))
    report.answered(Answer({}, [], 0.0, 0.0, 5.0, {}))
    report.answered(Answer({}, [], 1.0, 0.0, 5.0, {}, configured={"speed": 0.2}))
    report.started(EpisodeInfo(2, 1, 10.0, 0.02, 0.1, {}, 2.0, 0.0))
    assert [episode["configured"] for episode in report.as_dict()["episode_log"]] == [{"speed": 0.2}, {}]


def test_how_images_were_sent_is_in_the_record_of_the_episode() -> None:
    report = Report()
    report.started(EpisodeInfo(1, 0, 10.0, 0.02, 0.1, {}, 0.0, 0.0))
    for images in ("raw", "raw", "jpeg:90", "jpeg:90"):
        report.answered(Answer({}, [], 0.0, 0.0, 5.0, {}, images=images))
    report.started(EpisodeInfo(2, 1, 10.0, 0.02, 0.1, {}, 2.0, 0.0))
    report.answered(Answer({}, [], 0.0, 0.0, 5.0, {}))
    assert [episode["images"] for episode in report.as_dict()["episode_log"]] == [["raw", "jpeg:90"], []]


class Shown(Line):
    """The line of a terminal; what it showed last."""

    text = ""

    def show(self, text: str, done: float | None = None, total: float | None = None, amount: str = "") -> None:
        self.text = text


BEGINNING = EpisodeInfo(1, 0, 10.0, 0.02, 0.1, {}, 0.0, 0.0)
LOST = Answer({}, None, 0.0, 0.0, 5.0, {}, ("policy_failed", "CUDA out of memory"))
FINE = Answer({}, [], 0.0, 0.0, 5.0, {})


def tick(rung: Rung = "playing") -> Tick:
    return Tick(Command({}, 0.02), rung, 0.0, 0.0, {}, 0.0)


def test_an_answer_that_was_lost_is_told_though_the_run_went_on(capsys: pytest.CaptureFixture[str]) -> None:
    report, line = Report(), Shown()
    display = Display(line, 2, 10.0)
    for watcher in (report, display):
        watcher.started(BEGINNING)
        for answer in (FINE, LOST, LOST, FINE, LOST):
            watcher.answered(answer)
            watcher.ticked(tick("hold" if answer.failure else "playing"))
        assert line.text == "episode 1/2, 0 done, hold" or watcher is report
        watcher.ended(Outcome(None, LOST.failure))
    said = capsys.readouterr().err
    assert said.count("episode 1/2: policy_failed: CUDA out of memory\n") == 2, "one after the other is told once"
    assert line.text == "episode 1/2 is over, 0 done"
    assert report.as_dict()["lost_answers"] == {"policy_failed": 2}, "the last one has ended the episode"
    assert "2 x policy_failed; the run went on" in text(report)


def test_what_nobody_judged_or_threw_away_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    display = Display(Line(), 0, 10.0)
    outcomes = Outcome(True), Outcome(False), Outcome(), Outcome(stopped=True), Outcome(stopped=True, kept=False)
    for outcome in outcomes:
        for watcher in (report, display):
            watcher.started(BEGINNING)
            watcher.ended(outcome)
    assert "1 of 5 episodes, 2 not judged, 1 thrown away" in text(report)
    assert [episode["kept"] for episode in report.as_dict()["episode_log"]] == [True] * 4 + [False]
    said = capsys.readouterr().err.splitlines()
    for line, became in zip(said, ["success", "not done", "over", "stopped", "thrown away"], strict=True):
        assert f"): {became} after" in line
