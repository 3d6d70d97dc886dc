"""An evaluation from its page: trials are set up, begun and judged there, by whoever does not know the model."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asgi_calls import Asked
from filmed import picture
from offboard_client import cli
from offboard_client.errors import ConfigurationError
from offboard_client.evaluation import Judgement, Turn
from offboard_client.pages import Live, Seen, Starts, TrialDesk, pages_app
from offboard_client.play import Controls, EpisodeInfo, Outcome, Quit, Sample, Start, Stop
from offboard_client.recording import decode_image
from page_operator import Operator, free_port, still
from waits import PATIENCE, until

TURN = Turn(3, 11, "secret-model", "B")


class Table:
    """A page of trials that are played by hand."""

    def __init__(self, folder: Path) -> None:
        self.controls, self.seen, self.starts = Controls(), Seen(blind=True), Starts(folder)
        self.desk = TrialDesk(
            self.controls, starts=self.starts, seen=self.seen, mask=lambda text: text.replace("secret-model", "B")
        )
        self.live = Live(self.desk, self.seen, {}, None, self.starts)
        self.page = Asked(pages_app(self.live))
        self.judged: list[Judgement | None] = []

    def state(self) -> dict[str, Any]:
        return self.desk.as_dict()

    def do(self, what: str, **more: Any) -> Any:
        state = self.state()
        return self.page("POST", "/api/do", {"do": what, **{n: state[n] for n in ("run", "turn", "holds")}, **more})

    def say(self, seen: str = "", **words: Any) -> int:
        body = {"run": self.desk.run, "number": self.desk.number, "words": words, "seen": {"note": seen}}
        return self.page("POST", "/api/review", body).status

    def ready(self) -> Table:
        self.desk.expect(TURN, [{"number": 3, "label": "B", "start": 11, "outcome": None}])
        self.desk.opened()
        self.controls.waiting = True
        return self

    def playing(self) -> Table:
        self.ready()
        assert self.do("start", scene=self.state()["scene"]["stamp"]).status == 200
        assert self.controls.take() == [Start()]
        self.controls.waiting = False
        self.desk.started(EpisodeInfo(1, 11, 15.0, 0.05, 0.1, {}, 0.0, 1.8e9))
        return self

    def over(self, outcome: Outcome, by_task: Judgement | None = None) -> threading.Thread:
        self.desk.ended(outcome)
        thread = threading.Thread(target=lambda: self.judged.append(self.desk.judge(TURN, by_task)), daemon=True)
        thread.start()
        return thread

    def done(self, thread: threading.Thread) -> Judgement | None:
        thread.join(PATIENCE)
        assert not thread.is_alive()
        return self.judged.pop()


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    found = Table(tmp_path / "starts")
    yield found
    found.live.close()
    found.starts.close()


def test_a_trial_begins_when_somebody_has_confirmed_its_scene(table: Table) -> None:
    table.ready()
    state = table.state()
    assert (state["trial"]["label"], state["trial"]["start"], state["scene"]["cameras"]) == ("B", 11, [])
    for scene in (None, "", "11.1", 11):
        refused = table.do("start", scene=scene)
        assert (refused.status, "nobody has confirmed" in refused.json["error"]) == (409, True)
    assert table.controls.take() == []


def test_the_first_picture_of_a_start_is_what_the_next_are_laid_over(table: Table, tmp_path: Path) -> None:
    table.seen.idled(Sample({"image.wrist cam": picture(5)}, 0.0, 0.0, 1.0))
    table.playing()
    until(lambda: table.starts.of(11)["cameras"], "it is kept")
    table.desk.ended(Outcome(True))
    table.seen.idled(Sample({"image.wrist cam": picture(9)}, 1.0, 0.0, 1.0))
    before = table.state()["turn"]
    table.playing()
    assert table.state()["turn"] > before
    scene = Starts(tmp_path / "starts").of(11)
    assert (scene["cameras"], Starts(tmp_path / "starts").of(12)["cameras"]) == (["wrist cam"], [])
    shown = table.page("GET", "/api/starts/11/wrist cam", stamp=scene["stamp"])
    assert shown.headers["content-type"] == "image/png"
    assert np.array_equal(decode_image(shown.body), picture(5))
    for path in ("11/front", "12/wrist cam", "11/..%2F..%2Fx", "11/../../x", "x/wrist cam"):
        assert table.page("GET", f"/api/starts/{path}").status == 404


def test_a_start_picture_goes_with_the_annulled_trial_that_it_was_kept_for(table: Table, tmp_path: Path) -> None:
    """Of a scene that was set up wrongly nobody shall set up the others so; later trials' annulments leave it."""

    def annulled(number: int) -> None:
        table.seen.idled(Sample({"image.wrist": picture(number)}, float(number), 0.0, 1.0))
        table.playing()
        assert table.do("reset").status == 200
        table.controls.take()
        assert table.say(note="a wrong scene") == 200
        thread = table.over(Outcome(stopped=True))
        until(lambda: "submit" in table.state()["may"], "it is asked")
        assert table.do("submit").status == 200
        assert table.done(thread) == Judgement("annulled", note="a wrong scene")

    def shown() -> int:
        scene = table.starts.of(11)
        data = table.page("GET", "/api/starts/11/wrist", stamp=scene["stamp"]).body
        return next(number for number in (5, 9, 12) if np.array_equal(decode_image(data), picture(number)))

    before = table.starts.of(11)["stamp"]
    annulled(5)
    until(lambda: table.starts.of(11)["stamp"] != before and not table.starts.of(11)["cameras"], "it is thrown away")
    assert not list((tmp_path / "starts").iterdir())
    table.seen.idled(Sample({"image.wrist": picture(9)}, 9.0, 0.0, 1.0))
    table.playing()
    until(lambda: table.starts.of(11)["cameras"], "the next one is kept")
    table.done(judged_by(table))
    annulled(12)
    assert shown() == 9


def test_a_start_picture_goes_with_the_trial_that_it_was_kept_for_where_that_is_an_error(table: Table) -> None:
    """Nobody was asked about it: a connection or the robot ended it, or nothing answered when a person did."""
    for number, counts in ((5, False), (9, True), (12, False)):
        table.seen.idled(Sample({"image.wrist": picture(number)}, float(number), 0.0, 1.0))
        table.playing()
        until(lambda: table.starts.of(11)["cameras"], "it is kept")
        before = table.starts.of(11)["stamp"]
        table.desk.ended(Outcome(False, ("connection_lost", "cut")))
        table.desk.settled(counts)
        if number == 5:
            until(lambda: table.starts.of(11)["stamp"] != before and not table.starts.of(11)["cameras"], "it is gone")  # noqa: B023
    table.starts.close()
    data = table.page("GET", "/api/starts/11/wrist", stamp=table.starts.of(11)["stamp"]).body
    assert np.array_equal(decode_image(data), picture(9)), "one that a trial counts from stays"


def test_a_start_picture_whose_file_is_gone_is_none_and_the_next_scene_is_the_first(
    table: Table, tmp_path: Path
) -> None:
    table.seen.idled(Sample({"image.wrist": picture(5)}, 0.0, 0.0, 1.0))
    table.playing()
    until(lambda: table.starts.of(11)["cameras"], "it is kept")
    (tmp_path / "starts" / "11-wrist.png").unlink()
    before = table.starts.of(11)["stamp"]
    gone = table.page("GET", "/api/starts/11/wrist", stamp=before)
    assert (gone.status, "the next scene that is confirmed" in gone.json["error"]) == (404, True)
    scene = table.starts.of(11)
    assert (scene["cameras"], scene["stamp"] != before) == ([], True)
    table.desk.ended(Outcome(True))
    table.desk.settled(True)
    table.seen.idled(Sample({"image.wrist": picture(9)}, 1.0, 0.0, 1.0))
    table.playing()
    until(lambda: table.starts.of(11)["cameras"], "the next one is kept")
    assert table.starts.of(11)["stamp"] != before, "under which browsers keep the one that is gone"
    assert np.array_equal(decode_image(table.page("GET", "/api/starts/11/wrist").body), picture(9))


def test_whoever_ended_a_trial_that_nothing_answered_is_told_that_it_is_an_error(table: Table) -> None:
    table.playing()
    assert table.do("outcome", outcome="stall").status == 200
    thread = table.over(Outcome(stopped=True, unanswered=("timeout", "secret-model is awaited")))
    until(lambda: "submit" in table.state()["may"], "it is asked for")
    assert table.state()["trial"]["unanswered"] == "timeout: B is awaited"
    assert table.do("reset").status == 200
    assert table.state()["trial"]["unanswered"] is None, "an annulled one is annulled"
    assert table.do("reset").status == 200
    assert table.do("submit").status == 200
    assert table.done(thread) == Judgement("stall")


def judged_by(table: Table) -> threading.Thread:
    thread = table.over(Outcome(True), Judgement("success"))
    until(lambda: "submit" in table.state()["may"], "it is asked")
    assert table.do("submit").status == 200
    return thread


def test_start_pictures_of_somebody_elses_are_taken_and_other_files_are_not(tmp_path: Path) -> None:
    for name in ("4-front.jpg", "4-wrist%20cam.png", "4.png", "x-front.png", "4-front.txt", "notes.md"):
        (tmp_path / name).write_bytes(b"x")
    assert Starts(tmp_path).of(4)["cameras"] == ["front", "wrist cam"]
    with pytest.raises(ConfigurationError, match="no folder for start pictures can be made"):
        Starts(tmp_path / "notes.md")


def test_a_trial_counts_when_somebody_has_said_what_came_of_it(table: Table) -> None:
    table.playing()
    assert table.do("outcome", outcome="partial").status == 200
    assert table.controls.take() == [Stop()]
    thread = table.over(Outcome(stopped=True))
    until(lambda: table.state()["trial"]["missing"], "it is asked for")
    assert "how many items" in table.state()["trial"]["missing"]
    assert table.do("submit").status == 409
    assert table.say(items=1, items_total=4, note="slips") == 200
    state = table.state()
    assert "start" not in state["may"]
    assert table.do("submit").status == 200
    assert table.do("submit").status == 409, "once"
    assert table.done(thread) == Judgement("partial", 0.25, (), "slips", 1, 4)
    assert table.ready().state()["review"]["outcome"] is None, "nothing was said of the next"
    assert table.say(note="too late", seen="slips") == 409


def test_what_the_task_says_counts_unless_a_person_says_otherwise(table: Table) -> None:
    table.playing()
    thread = table.over(Outcome(True), Judgement("success", 1.0))
    until(lambda: "submit" in table.state()["may"], "it may be kept")
    assert table.do("submit").status == 200
    assert table.done(thread) == Judgement("success", 1.0)
    table.playing()
    thread = table.over(Outcome(True), Judgement("success", 1.0))
    until(lambda: "submit" in table.state()["may"], "it may be kept")
    table.do("outcome", outcome="fail")
    table.say(items=1, items_total=4)
    table.do("submit")
    assert table.done(thread) == Judgement("fail", 0.25, items=1, items_total=4)


def test_a_trial_is_annulled_for_a_reason_and_never_thrown_away(table: Table) -> None:
    table.playing()
    assert table.do("reset").status == 200
    assert table.controls.take() == [Stop()], "its recording is kept"
    thread = table.over(Outcome(stopped=True))
    until(lambda: table.state()["trial"]["missing"], "it is asked for")
    assert table.do("submit").status == 409
    assert table.say(note=" ") == 200
    assert table.do("submit").status == 409
    assert table.say(note="the light went out", seen=" ") == 200
    assert table.do("submit").status == 200
    assert table.done(thread) == Judgement("annulled", note="the light went out")


def test_an_annulment_that_two_ask_for_stands(table: Table) -> None:
    table.playing()
    thread = table.over(Outcome(True), Judgement("success", 1.0))
    until(lambda: "submit" in table.state()["may"], "it may be kept")
    seen = {name: table.state()[name] for name in ("run", "turn", "holds")}
    first, second = (table.page("POST", "/api/do", {"do": "reset", **seen}) for _ in range(2))
    assert (first.status, second.status) == (200, 409)
    assert "over and annulled by now" in second.json["error"]
    assert table.state()["trial"]["annulled"] is True
    assert table.do("reset").status == 200, "whoever sees that it is annulled takes it back"
    assert table.state()["trial"]["annulled"] is False
    assert table.do("submit").status == 200
    assert table.done(thread) == Judgement("success", 1.0)


def test_nobody_keeps_a_judgement_that_another_has_changed(table: Table) -> None:
    table.playing()
    thread = table.over(Outcome(True), Judgement("success", 1.0))
    until(lambda: "submit" in table.state()["may"], "it may be kept")
    seen = {name: table.state()[name] for name in ("run", "turn", "holds")}
    assert table.do("outcome", outcome="fail").status == 200
    assert table.page("POST", "/api/do", {"do": "submit", **seen}).status == 409
    assert table.do("submit").status == 200
    assert table.done(thread) == Judgement("fail")


def test_nobody_keeps_counts_that_another_has_changed(table: Table) -> None:
    """The number that counts is the one before the eyes of whoever keeps it."""
    thread = table.playing().over(Outcome(False), Judgement("stall"))
    until(lambda: "submit" in table.state()["may"], "it is asked")
    assert table.say(items=1, items_total=4) == 200
    assert table.do("submit", items=[1, 3]).status == 409
    answer = table.do("submit", items=[None, None])
    assert (answer.status, "1 items of 4 were done, and nothing was kept" in answer.json["error"]) == (409, True)
    assert table.do("submit", items=[1, 4]).status == 200
    found = table.done(thread)
    assert found is not None
    assert (found.items, found.items_total) == (1, 4)


def test_whoever_leaves_before_the_question_is_asked_has_left(table: Table) -> None:
    table.playing()
    table.desk.ended(Outcome(None))  # the recording is being closed
    assert table.do("quit").status == 200
    assert table.done(table.over(Outcome(None))) is None
    assert table.controls.take() == [Quit()]


def test_what_the_task_said_of_a_trial_is_not_said_of_the_next(table: Table) -> None:
    table.playing()
    thread = table.over(Outcome(True), Judgement("success", 1.0))
    until(lambda: "submit" in table.state()["may"], "it may be kept")
    table.do("reset")
    table.say(note="the light went out")
    assert table.do("submit").status == 200
    table.done(thread)
    trial = table.ready().state()["trial"]
    assert (trial["task_says"], trial["annulled"]) == (None, False)


def test_what_was_ended_at_the_terminal_or_left_says_nothing_of_the_model(table: Table) -> None:
    table.playing()
    assert table.done(table.over(Outcome(stopped=True))) is None
    table.playing()
    thread = table.over(Outcome(None))
    until(lambda: table.state()["trial"]["missing"] == "say what came of it", "it is asked for")
    assert table.do("quit").status == 200
    assert table.done(thread) is None
    assert table.controls.take() == [Quit()]


def test_where_others_judge_the_page_holds_at_most(tmp_path: Path) -> None:
    table = Table(tmp_path)
    table.desk = TrialDesk(table.controls, judging=False)
    table.live = Live(table.desk, table.seen, {})
    table.page = Asked(pages_app(table.live))
    table.desk.expect(TURN, [])
    table.desk.opened()
    table.desk.started(EpisodeInfo(1, 11, 15.0, 0.05, 0.1, {}, 0.0, 1.8e9))
    assert table.state()["may"] == ["hold"]
    assert table.do("outcome", outcome="fail").status == 409
    assert table.do("hold").status == 200
    assert table.do("resume").status == 200
    assert table.controls.take() == []
    table.live.close()


def test_an_error_names_no_model(table: Table) -> None:
    table.playing()
    table.desk.ended(Outcome(False, ("load_failed", "secret-model: no such file")))
    answer = table.page("GET", "/api/now", width=64)
    assert b"secret" not in answer.body
    assert b"B: no such file" in answer.body


needs_sim = pytest.mark.skipif(
    importlib.util.find_spec("offboard_core") is None or importlib.util.find_spec("mujoco") is None,
    reason="needs a server of ours and the simulation",
)


@needs_sim
def test_a_blind_evaluation_from_its_page_to_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from offboard_core import InferenceServer

    heard = list[bytes]()

    class Blind(Operator):
        def hear(self, body: bytes) -> None:
            heard.append(body)

    def judge(page: Operator, outcome: str | None, **words: Any) -> None:
        page.may("start")
        page.post("api/do", do="start", scene=page.now()["scene"]["stamp"])
        page.may("outcome")
        page.post("api/do", do="reset") if outcome is None else page.post("api/do", do="outcome", outcome=outcome)
        until(lambda: page.now()["trial"]["missing"] or "submit" in page.now()["may"], "it is asked for")
        if words:
            page.post("api/review", words=words, seen={})
        page.may("submit")
        seen = page.now()["cameras"][0][1]
        until(lambda: page.now()["cameras"][0][1] > 2 + seen, "it is seen while it is judged")
        page.post("api/do", do="submit")

    def operator(page: Operator) -> None:
        judge(page, None, note="the light went out")
        judge(page, "partial", items=1, items_total=2)
        judge(page, "success")

    port = free_port()
    with InferenceServer({"model-one": lambda: still, "model-two": lambda: still}, port=0, fps=10.0) as server:
        somebody = Blind(port, operator)
        status = cli.main([
            "evaluate", "sim", f"127.0.0.1:{server.port}", "--models=model-one,model-two", "--episodes=1", "--blind",
            "--driver=eval_ui", f"--page-port={port}", f"--output-dir={tmp_path}", "--seconds=3600", "--no-record",
        ])  # fmt: skip
        somebody.done()
    assert status == 0
    lines = [json.loads(line) for line in (tmp_path / "trials.jsonl").read_text("utf-8").splitlines()]
    trials = [line["trial"] for line in lines if "trial" in line]
    came = [(each["outcome"], each.get("score"), each.get("items"), each.get("items_total")) for each in trials]
    assert came == [("annulled", None, None, None), ("partial", 0.5, 1, 2), ("success", None, None, None)]
    assert trials[0]["model"] == trials[1]["model"] != trials[2]["model"]
    assert heard
    for word in (b"model-one", b"model-two", b'"ms"', b"infer"):
        assert not any(word in body for body in heard), word
    assert any(b'"latencies":null' in body for body in heard)
    assert {path.name for path in (tmp_path / "starts").iterdir()} == {"0-exterior.png", "0-wrist.png"}
    err = capsys.readouterr().err
    assert "model-one" not in err.partition("ended")[0]
