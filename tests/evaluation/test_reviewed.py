"""What people say of recordings after an evaluation, in its report."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from offboard_client import cli
from offboard_client.evaluation import (
    Plan,
    Trial,
    as_csv,
    as_html,
    as_json,
    as_markdown,
    edit_review,
    review_path,
    reviewed,
    summarize,
)

PLAN = Plan(("old", "new"), (0, 1, 2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings of six trials, of which three were looked at."""
    for number in range(6):
        (tmp_path / f"{number}.mcap").touch()
    edit_review(tmp_path / "0.mcap", {"outcome": "fail", "note": "it fell"}, {}, tags={"slipped": True})
    edit_review(tmp_path / "1.mcap", {"outcome": "partial", "items": 3, "items_total": 4}, {})
    edit_review(tmp_path / "2.mcap", {}, {}, tags={"slipped": True, "late": True})
    return tmp_path


def played() -> list[Trial]:
    outcomes = ("success", "fail", "stall", "success", "success", "success")
    return [
        Trial(("old", "new")[number // 3], number % 3, outcome, recording=f"{number}.mcap", note="n" * (number == 0))
        for number, outcome in enumerate(outcomes)
    ]


def test_what_people_say_stands_instead_of_what_the_run_said(folder: Path) -> None:
    trials, said = reviewed(played(), folder)
    assert said == "3 of 6, of which 2 came out otherwise than the run said"
    assert [trial.outcome for trial in trials] == ["fail", "partial", "stall", "success", "success", "success"]
    assert (trials[0].tags, trials[0].note, trials[0].score) == (("slipped",), "n; it fell", None)
    assert (trials[1].score, trials[1].items, trials[1].items_total) == (0.75, 3, 4)
    assert trials[2].tags == ("slipped", "late")
    assert trials[3:] == played()[3:]


def test_items_that_were_counted_at_the_trial_stay_until_it_came_out_otherwise(folder: Path) -> None:
    counted = [replace(trial, items=1, items_total=4) for trial in played()]
    trials, _ = reviewed(counted, folder)
    assert [(trial.items, trial.items_total) for trial in trials[:3]] == [(None, None), (3, 4), (1, 4)]


def test_a_trial_that_does_not_count_stays_so(folder: Path) -> None:
    edit_review(folder / "4.mcap", {"outcome": "success"}, {}, tags={"blocked": True})
    [trial], said = reviewed([Trial("new", 0, "annulled", recording="4.mcap", note="the camera was blocked")], folder)
    assert (trial.outcome, trial.tags) == ("annulled", ("blocked",))
    assert said == "1 of 1, of which 0 came out otherwise than the run said"


def test_what_cannot_be_taken_is_said_and_the_trial_is_as_it_was(folder: Path) -> None:
    edit_review(folder / "3.mcap", {"outcome": "partial"}, {})  # and nobody said how much
    review_path(folder / "4.mcap").write_text("{")
    wrong: list[str] = []
    outside = Trial("new", 2, "success", recording="../5.mcap")
    trials, _ = reviewed([*played()[3:5], outside], folder / ".." / folder.name, wrong.append)
    assert trials == [*played()[3:5], outside]
    assert [text.split(" is left out")[0] for text in wrong] == [
        "what was said of 3.mcap", "what was said of 4.mcap",
    ]  # fmt: skip


def test_nothing_outside_the_folder_is_looked_at(folder: Path) -> None:
    (folder / "in").mkdir()
    trial = Trial("new", 0, "success", recording="../0.mcap")
    assert reviewed([trial, Trial("new", 1, "success")], folder / "in") == ([trial, Trial("new", 1, "success")], "")


def test_failure_modes_and_items_are_counted_and_recordings_linked(folder: Path) -> None:
    report = summarize(reviewed(played(), folder)[0], PLAN, recordings="recordings")
    old, new = report.models
    assert (old.tags, old.items, new.items) == ({"slipped": 2, "late": 1}, (3, 4), (0, 0))
    assert old.successes == 0
    text = as_markdown(report)
    assert "| slipped | 2 of 3 | 0 of 3 |" in text
    assert "| old | 3 | 4 | 75% |" in text
    line = list(csv.DictReader(io.StringIO(as_csv(report))))[1]
    assert (line["items"], line["items_total"], line["score"]) == ("3", "4", "0.75")
    assert Trial.from_dict(json.loads(as_json(report))["trials"][1]) == report.trials[1]
    assert '<td><a href="recordings/1.mcap">2</a></td>' in as_html(report)
    assert "<a " not in as_html(summarize(played(), PLAN))


def test_a_link_leads_nowhere_else() -> None:
    odd = 'javascript:alert(1)/../"><b>\ud800'
    page = as_html(summarize([Trial("a", 1, "fail", recording=odd)], recordings="recordings"))
    assert '<a href="recordings/javascript%3Aalert%281%29%2F..%2F%22%3E%3Cb%3E%3F">' in page
    assert "<b>" not in page


def needed() -> Iterator[str]:
    yield from (name for name in ("offboard_core", "mcap", "av") if importlib.util.find_spec(name) is None)


@pytest.mark.skipif(next(needed(), None) is not None, reason="needs a server of ours and recordings")
def test_the_same_command_again_writes_the_report_with_what_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from coin import install, planted
    from offboard_core import InferenceServer

    monkeypatch.syspath_prepend(str(install(tmp_path / "plugins")))
    with InferenceServer({"good": planted("good", 1.0)}, port=0, fps=10.0) as server:
        command = ["evaluate", "coin", f"127.0.0.1:{server.port}", "--models=good", "--episodes=2", "--seconds=0.2"]
        command.append(f"--output-dir={tmp_path / 'e'}")
        assert cli.main(command) == 0
    recordings = sorted((tmp_path / "e" / "recordings").glob("*.mcap"))
    edit_review(recordings[0], {"outcome": "fail"}, {}, tags={"dropped it": True})
    assert cli.main(command) == 0  # the server is gone: there is nothing left to play
    report = json.loads((tmp_path / "e" / "report.json").read_text("utf-8"))
    (model,) = report["models"]
    assert (model["outcomes"], model["tags"]) == ({"fail": 1, "success": 1}, {"dropped it": 1})
    assert report["facts"]["scored afterwards"] == "1 of 2, of which 1 came out otherwise than the run said"
    page = (tmp_path / "e" / "report.html").read_text("utf-8")
    for recording in recordings:
        assert f'href="recordings/{recording.name}"' in page
    log = (tmp_path / "e" / "trials.jsonl").read_text("utf-8")
    assert "dropped it" not in log
    assert "1 of 2" in capsys.readouterr().out


@pytest.mark.skipif(next(needed(), None) is not None, reason="needs a server of ours and recordings")
def test_what_was_said_decides_whether_it_is_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from coin import install, planted
    from offboard_core import InferenceServer

    def played() -> tuple[int, bool, str]:
        assert cli.main(command) == 0
        report = json.loads((tmp_path / "e" / "report.json").read_text("utf-8"))
        return len(report["trials"]), report["comparisons"][0]["better"] is not None, capsys.readouterr().err

    monkeypatch.syspath_prepend(str(install(tmp_path / "plugins")))
    models = {"always": planted("always", 1.0), "never": planted("never", 0.0)}
    with InferenceServer(models, port=0, fps=10.0) as server:
        command = ["evaluate", "coin", f"127.0.0.1:{server.port}", "--models=always,never", "--episodes=20"]
        command += ["--seconds=0.2", "--until=decided", f"--output-dir={tmp_path / 'e'}"]
        before, decided, said = played()
        assert decided
        assert "every two models are told apart" in said
        assert played()[:2] == (before, True)
        log = [json.loads(line) for line in (tmp_path / "e" / "trials.jsonl").read_text("utf-8").splitlines()]
        won = [line["trial"]["recording"] for line in log if line.get("trial", {}).get("outcome") == "success"]
        edit_review(tmp_path / "e" / "recordings" / won[0], {"outcome": "fail"}, {})
        after, decided, said = played()
        assert after > before
        assert decided
        assert "every two models are told apart" in said
