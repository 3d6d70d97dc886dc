"""The page of a run that goes on, asked without a server: what is done only if it was meant, and what is shown."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from asgi_calls import Answered, Asked
from filmed import begin, observation, picture, record, tick
from offboard_client.drivers import RunLength, TimedDriver
from offboard_client.evaluation import read_review, review_path
from offboard_client.pages import Desk, Keeping, Live, PageServer, Seen, pages_app
from offboard_client.play import (
    Answer,
    Bounded,
    Command,
    Controls,
    EpisodeInfo,
    Hold,
    Outcome,
    Quit,
    Report,
    Reset,
    Resume,
    SafetyLimits,
    Sample,
    Start,
    Stop,
    Tick,
)
from offboard_client.robots import Channel, RobotSpec
from page_operator import NASTY, Arm
from robot_fakes import POSE, FakeSession, rows
from waits import PATIENCE, until


class Shown(NamedTuple):
    state: dict[str, Any]
    pictures: dict[str, bytes]


class Table:
    """A page of a run that is played by hand."""

    def __init__(self, blind: bool = False) -> None:
        self.controls = Controls()
        self.desk = Desk(self.controls)
        self.seen = Seen(blind, clock=lambda: 200.0)
        self.live = Live(self.desk, self.seen, {"task": "stack"})
        self.page = Asked(pages_app(self.live))

    def now(self, **query: Any) -> Shown:
        answer = self.page("GET", "/api/now", **query)
        assert answer.status == 200, answer.json
        assert answer.body[:4] == b"OBL1"
        (size,) = struct.unpack("<I", answer.body[4:8])
        state, at = json.loads(answer.body[8 : 8 + size]), 8 + size
        pictures: dict[str, bytes] = {}
        for name, _, length in state["sent"]:
            pictures[name] = answer.body[at : at + length]
            at += length
        assert at == len(answer.body)
        return Shown(state, pictures)

    def do(self, what: str, state: Mapping[str, Any] | None = None, **more: Any) -> Answered:
        """As a browser that shows ``state`` does; by default what is so now."""
        state = self.desk.as_dict() if state is None else state
        return self.page("POST", "/api/do", {"do": what, **{n: state[n] for n in ("run", "turn", "holds")}, **more})

    def say(self, number: int, **more: Any) -> Answered:
        return self.page("POST", "/api/review", {"run": self.desk.run, "number": number, **more})

    def ready(self) -> Table:
        self.desk.opened()
        self.controls.waiting = True
        return self

    def playing(self, number: int = 1) -> Table:
        self.ready()
        self.controls.waiting = False
        self.desk.started(EpisodeInfo(number, 7, 15.0, 0.05, 0.1, {"model_id": "secret-model"}, 100.0, 1.8e9))
        return self

    def over(self, outcome: Outcome | None = None) -> Table:
        self.playing()
        self.desk.ended(outcome or Outcome(stopped=True))
        self.controls.waiting = True
        return self


@pytest.fixture
def table() -> Iterator[Table]:
    found = Table()
    yield found
    found.live.close()


def test_curves_have_the_names_of_the_robots_joints(table: Table) -> None:
    joints = tuple(f"joint{number}" for number in range(1, 8))
    q = Channel(shape=(7,), unit="rad", order=joints)
    spec = RobotSpec(
        measures={"robot_state.q": q}, plays={"target_joints": Channel(shape=(7,), unit="rad")}, control_period=0.01
    )
    table.live.drives(spec, "sort")
    table.playing()
    table.seen.sampled(Sample({"robot_state.q": np.zeros(7), "robot_state.ee_pose": POSE}, 0.0, 0.0, 1.0))
    table.seen.ticked(Tick(Command({"target_joints": np.zeros(7)}, 0.05, 0), "playing", 0.0, 0.0, {}, 1.0))
    labels = {plot["name"]: plot["labels"] for plot in table.now().state["plots"]}
    assert labels["target_joints"] == list(joints), "of what it is held against, where it has none itself"
    assert labels["robot_state.ee_pose"] == ["x", "y", "z", "qw", "qx", "qy", "qz"]
    assert table.now().state["task"] == "stack", "what the run was told"


def test_nothing_begins_before_the_robot_waits_for_it(table: Table) -> None:
    assert table.do("start").status == 409
    table.desk.opened()
    assert table.do("start").status == 409
    table.controls.waiting = True
    assert "start" in table.now().state["may"]
    assert table.do("start").status == 200
    assert table.controls.take() == [Start()]


def test_a_button_that_is_pressed_twice_begins_one_episode(table: Table) -> None:
    state = table.ready().now().state
    answers = [table.do("start", state) for _ in range(3)]
    assert [each.status for each in answers] == [200, 409, 409]
    assert "nothing was done" in answers[1].json["error"]
    assert answers[1].json["code"] == "too_late"
    assert table.controls.take() == [Start()]


def test_what_was_meant_for_an_episode_that_is_over_ends_no_other_one(table: Table) -> None:
    state = table.playing().now().state
    table.desk.ended(Outcome(True))
    table.controls.waiting = True
    assert table.do("outcome", state, outcome="fail").status == 409
    assert table.do("start").status == 200
    table.controls.take()
    table.desk.started(EpisodeInfo(2, 8, 15.0, 0.05, 0.1, {}, 100.0, 1.8e9))
    for what in ("outcome", "reset", "start"):
        assert table.do(what, state, outcome="fail").status == 409
    assert table.controls.take() == []
    assert table.desk.said == {}


def test_an_outcome_ends_the_episode_once_and_may_be_changed_afterwards(table: Table) -> None:
    state = table.playing().now().state
    assert table.do("outcome", state, outcome="partial").status == 200
    assert table.do("outcome", state, outcome="fail").status == 409
    assert table.controls.take() == [Stop()]
    table.desk.ended(Outcome(stopped=True))
    assert table.now().state["review"]["outcome"] == "partial"
    assert table.do("outcome", outcome="success").json["review"]["outcome"] == "success"
    assert table.do("outcome", outcome=None).json["review"]["outcome"] is None
    assert table.controls.take() == []
    for wrong in ("annulled", "error", "won", 3, ["fail"]):
        assert table.do("outcome", outcome=wrong).status == 400


def test_to_hold_is_never_refused_and_whoever_lets_it_go_on_has_seen_the_last_hold(table: Table) -> None:
    table.playing()
    assert table.page("POST", "/api/do", {"do": "hold"}).status == 200
    assert table.controls.hold
    first = table.now().state
    assert first["may"] == ["resume", "outcome", "reset"]
    assert table.do("hold", {"run": "another", "turn": -1, "holds": -1}).status == 200
    assert table.do("resume", first).status == 409
    assert table.controls.hold, "somebody else has held it since"
    first = table.now().state
    table.controls.post(Resume())
    table.controls.post(Hold())
    assert table.do("resume", first).status == 409, "it was held anew, at the terminal"
    assert table.do("resume").status == 200
    assert not table.controls.hold
    table.desk.ended(Outcome(True))
    table.controls.waiting = True
    state = table.now().state
    table.page("POST", "/api/do", {"do": "hold"})
    assert table.do("start", state).status == 409
    assert table.do("start").status == 409, "nothing begins while the arm is held"
    assert table.controls.take() == []


def test_a_page_of_a_run_before_does_nothing_here(table: Table) -> None:
    state = {**table.ready().now().state, "run": "of before"}
    for what in ("start", "quit", "resume"):
        refused = table.do(what, state)
        assert (refused.status, "another run" in refused.json["error"]) == (409, True)
    assert table.controls.take() == []


def test_what_is_thrown_away_has_no_words(table: Table) -> None:
    table.playing()
    assert table.say(1, words={"note": "slips"}, seen={}).status == 200
    assert table.do("reset").status == 200
    assert table.controls.take() == [Reset()]
    table.desk.ended(Outcome(stopped=True, kept=False))
    assert table.desk.said == {}
    assert table.say(1, words={"note": "slips"}, seen={}).status == 409
    assert table.do("outcome", outcome="fail").status == 409
    assert table.desk.said == {}


def test_a_run_is_ended_from_the_page_between_two_episodes_only(table: Table) -> None:
    table.playing()
    assert table.do("quit").status == 409
    table.desk.ended(Outcome(True))
    assert table.do("quit").status == 200
    assert table.controls.take() == [Quit()]
    table.desk.close()
    assert table.now().state["may"] == []


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ({"do": "hold"}, {"origin": "http://evil.example"}, 403),
        ({"do": "hold"}, {"origin": "null"}, 403),
        ({"do": "hold"}, {"host": "evil.example:5002"}, 403),
        (b'{"do": "hold"}', {"content-type": "text/plain"}, 400),
        (b"do=hold", {"content-type": "application/x-www-form-urlencoded"}, 400),
        (b"[]", {"content-type": "application/json"}, 400),
        (b"[" * 100_000, {"content-type": "application/json"}, 400),
        (b" " * (1 << 19), {"content-type": "application/json"}, 400),
        ({"do": "dance"}, {}, 400),
        ({"do": ["hold"]}, {}, 400),
        ({}, {}, 400),
    ],
)
def test_what_another_site_or_nobody_could_mean_does_nothing(
    table: Table, body: Any, headers: dict[str, str], status: int
) -> None:
    table.playing()
    assert table.page("POST", "/api/do", body, headers=headers).status == status
    assert not table.controls.hold
    assert table.page("GET", "/api/do").status == 404, "a picture's address on another page asks so"


def test_with_a_token_nothing_is_done_without_it(table: Table) -> None:
    page = Asked(pages_app(table.playing().live, "s3cret"))
    assert page("POST", "/api/do", {"do": "hold"}).status == 401
    assert page("GET", "/api/now").status == 401
    assert not table.controls.hold
    assert page("POST", "/api/do", {"do": "hold"}, headers={"authorization": "Bearer s3cret"}).status == 200
    assert table.controls.hold


def test_what_two_say_at_once_is_not_lost_and_markup_is_words(table: Table) -> None:
    table.over()
    first = table.say(1, words={"note": NASTY, "items": 1, "items_total": 3}, seen={}, tags={"slip": True})
    assert first.json["review"]["note"] == NASTY
    lost = table.say(1, words={"note": "mine"}, seen={"note": ""})
    assert (lost.status, lost.json["lost"]) == (409, ["note"])
    assert table.now().state["review"]["note"] == NASTY
    for wrong in ({"words": {"note": 3}}, {"words": {"items": 9}}, {"words": []}, {"words": {"outcome": "fail"}}):
        seen = {"note": NASTY, "items": 1, "items_total": 3}
        assert table.say(1, **{"seen": seen, **wrong}).status == 400
    for number in (0, 2, "1", None, True):
        assert table.say(number, words={"note": "x"}, seen={}).status == 409  # type: ignore[arg-type]


def test_a_browser_is_sent_what_it_has_not_yet(table: Table) -> None:
    assert table.now(width=640).pictures == {}
    begin(table.seen)  # type: ignore[arg-type]
    for number in range(3):
        seconds = number * 0.1
        table.seen.sampled(Sample(observation(number), 199.5, seconds, 2.0))
    tick(table.seen, 4, {"target_pose": POSE, "target_grip": np.array([0.5])})  # type: ignore[arg-type]
    table.seen.answered(Answer(observation(3), [], 100.0, 2.0, 20.0, {"server.infer_ms": 9.0, "server.x_ms": np.nan}))
    shown = table.now(width=32)
    assert shown.pictures["wrist"].startswith(b"\xff\xd8")
    assert shown.state["cameras"] == [["wrist", 2, 0.5]]
    assert shown.state["stages"] == {"infer": 9.0, "x": None}
    assert {plot["name"] for plot in shown.state["plots"]} == {"target_pose", "target_grip", "robot_state.q"}
    kinds = [event.get("at") or next(iter(event)) for event in shown.state["events"]]
    assert kinds.count("/observation/robot_state/q") == 3
    assert kinds.count("/action/target_pose") == 1
    assert "/observation/image/wrist" not in kinds
    again = table.now(width=32, since=shown.state["upto"], have="wrist:2")
    assert (again.pictures, again.state["events"]) == ({}, [])
    assert table.now(since=0).pictures == {}, "nobody sees them"
    for wrong in ({"have": "wrist"}, {"have": "wrist:x"}, {"width": "nan"}, {"since": ""}):
        assert table.page("GET", "/api/now", **wrong).status == 400


def test_a_browser_that_comes_late_is_told_in_pieces(table: Table) -> None:
    begin(table.seen)  # type: ignore[arg-type]
    for number in range(900):
        table.seen.sampled(Sample({"grip": np.array([float(number)])}, 100.0, number * 0.1, 2.0))
    since, told = 0, list[float]()
    while events := (shown := table.now(since=since).state)["events"]:
        assert len(events) <= 400
        told += [event["v"][0] for event in events if "v" in event]
        since = shown["upto"]
    assert told == [float(number) for number in range(900)]
    begin(table.seen)  # type: ignore[arg-type]
    assert table.now(since=since).state["events"] == [{"begin": 1}]


def test_whoever_shall_not_know_the_model_is_told_nothing_of_it() -> None:
    table = Table(blind=True)
    table.playing()
    begin(table.seen, model_id="secret-model")  # type: ignore[arg-type]
    table.seen.answered(Answer(observation(3), [], 100.0, 2.0, 20.0, {"server.infer_ms": 9.0}))
    table.seen.sampled(Sample(observation(0), 199.5, 0.0, 2.0))
    state = table.now(width=32).state
    assert (state["latencies"], state["stages"]) == (None, {})
    assert not any("ms" in event for event in state["events"])
    assert "secret" not in json.dumps(state)
    table.live.close()


def test_an_arm_is_driven_held_and_judged_from_the_page(table: Table) -> None:
    arm: Any = Arm()
    report = Report()
    session: Any = FakeSession(rows(*(0.1 * number for number in range(50))))
    with Bounded(table.seen, 256) as bounded:
        driver = TimedDriver(
            session, arm, arm, limits=SafetyLimits(), observers=[report, table.desk, bounded],
            controls=table.controls, attended=True,
        )  # fmt: skip
        thread = threading.Thread(target=driver.run, args=[RunLength(seconds=60.0)], daemon=True)
        table.desk.opened()
        thread.start()
        until(lambda: table.now(width=64).pictures, "it is seen")
        assert arm.played == [], "it is seen before it moves"
        assert table.do("start").status == 200
        until(lambda: len(arm.played) > 5, "it moves")
        table.do("hold")
        until(lambda: table.controls.stops, "it stops")
        played, seen = len(arm.played), table.seen.pictures()["wrist"].number
        until(lambda: table.seen.pictures()["wrist"].number > seen + 1, "it is still seen")
        assert len(arm.played) == played, "it is seen while it is held, and does not move"
        table.do("resume")
        until(lambda: len(arm.played) > played + 3, "it goes on")
        until(lambda: table.do("outcome", outcome="unsafe").status == 200, "it is judged")
        until(lambda: table.controls.waiting and table.desk.phase == "over", "it is over")
        assert table.do("quit").status == 200
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert max(table.controls.stops) < 5.0
    (episode,) = report.episodes
    assert episode.kept
    assert table.desk.said[1].outcome == "unsafe"


def test_what_is_said_is_kept_beside_the_recording_once_the_episode_is_over(tmp_path: Path) -> None:
    table = Table()
    recording = record(tmp_path)
    paths: dict[int, Path] = {}
    keeping = Keeping(table.desk, paths.get)
    table.playing()
    table.say(1, words={"note": NASTY}, seen={}, tags={"slip": True})
    table.do("outcome", outcome="stall")
    paths[1] = recording
    assert keeping.saved, "there is nothing to be kept yet"
    assert not review_path(recording).exists(), "it may still be thrown away"
    table.desk.ended(Outcome(stopped=True))
    until(lambda: keeping.saved, "it is kept")
    review = read_review(recording)
    assert (review.outcome, review.note, review.tags) == ("stall", NASTY, ("slip",))
    table.say(1, words={"items": 1, "items_total": 2}, seen={}, tags={"slip": False})
    table.do("outcome", outcome="partial")
    keeping.close()
    review = read_review(recording)
    assert (review.outcome, review.score, review.tags, keeping.problem) == ("partial", 0.5, (), None)
    table.live.close()


def test_a_recording_that_is_not_there_is_said_and_nothing_waits_for_it(tmp_path: Path) -> None:
    table = Table().over()
    keeping = Keeping(table.desk, {1: tmp_path / "gone.mcap"}.get)
    table.live = Live(table.desk, table.seen, {}, keeping)
    table.page = Asked(pages_app(table.live))
    table.do("outcome", outcome="fail")
    until(lambda: table.now().state["problem"], "it is said")
    assert "is gone" in table.now().state["problem"]
    keeping.close()
    table.live.close()


def test_browsers_that_never_take_what_they_asked_for_keep_nobody_from_holding(table: Table) -> None:
    table.playing()
    for camera in range(8):
        table.seen.idled(Sample({f"image.{camera}": picture(camera, 480, 640)}, 0.0, 0.0, 1.0))
    with PageServer(table.page.app) as server, contextlib.ExitStack() as stack:
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        ask = b"GET /api/now?width=640 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
        for _ in range(4):
            lazy = stack.enter_context(socket.create_connection(server.address))
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.sendall(ask * 100)
        upgrade = b"GET /api/do HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
        with socket.create_connection(server.address, PATIENCE) as other:
            other.sendall(upgrade)
            assert other.recv(4096).startswith(b"HTTP/1.1 404"), "there is no socket here"
        with socket.create_connection(server.address, PATIENCE) as other:
            body = b'{"do": "hold"}'
            said = f"host: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
            other.sendall(f"POST /api/do HTTP/1.1\r\n{said}\r\n\r\n".encode() + body)
            assert other.recv(4096).startswith(b"HTTP/1.1 200")
        assert table.controls.hold
        server.stop()
        stack.close()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_person_rules_over_the_task() -> None:
    report = Report()
    begin(report)  # type: ignore[arg-type]
    report.ended(Outcome(True))
    report.reviewed(1, {"outcome": None, "note": "x"})
    assert report.successes == 1
    report.reviewed(1, {"outcome": "fail", "note": "x"})
    assert report.successes == 0
    assert report.as_dict()["episode_log"][0]["review"] == {"outcome": "fail", "note": "x"}
