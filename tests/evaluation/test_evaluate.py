"""``offboard evaluate`` from its command line to its report, against models whose rates are known."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from offboard_client import cli

if importlib.util.find_spec("offboard_core") is None:
    pytest.skip("needs a server of ours", allow_module_level=True)

from coin import install, planted, wins
from offboard_client.errors import ConfigurationError
from offboard_client.evaluation import Trial, TrialLog
from offboard_client.robots import Robot
from offboard_core import InferenceServer, declare


@pytest.fixture
def coin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(install(tmp_path / "plugins")))


def serve(**rates: float) -> InferenceServer:
    return InferenceServer({name: planted(name, rate) for name, rate in rates.items()}, port=0, fps=10.0)


def evaluate(server: InferenceServer, folder: Path, *more: str, robot: str = "coin") -> int:
    where = [robot, f"127.0.0.1:{server.port}", f"--output-dir={folder}"]
    return cli.main(["evaluate", *where, "--seconds=0.2", "--no-record", *more])


def trials(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "trials.jsonl").read_text("utf-8").splitlines()]
    return [line["trial"] for line in lines if "trial" in line]


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text("utf-8"))
    return found


@pytest.mark.usefixtures("coin")
def test_planted_rates_get_the_right_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rates = {"good": 0.9, "bad": 0.6, "worse": 0.6}
    with serve(**rates) as server:
        assert evaluate(server, tmp_path / "e", "--models", "good,bad,worse", "--episodes", "60") == 0
    found = trials(tmp_path / "e")
    assert len(found) == 180
    for model, rate in rates.items():
        seen = {trial["start"]: trial["outcome"] == "success" for trial in found if trial["model"] == model}
        assert seen == {start: wins(model, start, rate) for start in range(60)}
    better = {(each["first"], each["second"]): each["better"] for each in report(tmp_path / "e")["comparisons"]}
    assert better == {("good", "bad"): "good", ("good", "worse"): "good", ("bad", "worse"): None}
    out = capsys.readouterr().out.replace("\n", " ")
    assert "good is better than bad" in out
    assert "not decided" in out
    assert {path.name for path in (tmp_path / "e").iterdir()} == {
        "trials.jsonl", "conditions.json", "report.md", "report.json", "report.csv", "report.html",
    }  # fmt: skip


@pytest.mark.usefixtures("coin")
def test_a_robot_that_is_not_let_go_of_in_the_end_is_told_behind_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def close(robot: Any) -> None:
        raise OSError("no more torque")

    monkeypatch.setattr(Robot, "close", close)
    with serve(one=0.9, other=0.1) as server:
        assert evaluate(server, tmp_path, "--models=one,other", "--episodes=2") == 1
    assert len(trials(tmp_path)) == 4
    assert len(report(tmp_path)["models"]) == 2
    assert capsys.readouterr().err.endswith("offboard: the robot failed in close: OSError: no more torque\n")


@pytest.mark.usefixtures("coin")
def test_several_robots_at_once_come_to_the_verdicts_of_one(tmp_path: Path) -> None:
    with serve(good=0.9, bad=0.4) as server:
        for parallel in (1, 4):
            options = ["--models=good,bad", "--episodes=12", f"--parallel={parallel}", "--seed=3"]
            assert evaluate(server, tmp_path / str(parallel), *options) == 0
    one, four = report(tmp_path / "1"), report(tmp_path / "4")
    assert one["comparisons"] == four["comparisons"]

    def key(trial: Mapping[str, Any]) -> Any:
        return trial["model"], trial["start"], trial["outcome"]

    assert sorted(map(key, trials(tmp_path / "1"))) == sorted(map(key, trials(tmp_path / "4")))


@pytest.mark.usefixtures("coin")
def test_it_ends_when_the_evidence_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(always=1.0, never=0.0) as server:
        assert evaluate(server, tmp_path, "--models=always,never", "--episodes=50", "--until=decided") == 0
    assert len(trials(tmp_path)) < 40
    assert "every two models are told apart" in capsys.readouterr().err
    assert report(tmp_path)["comparisons"][0]["better"] == "always"


@pytest.mark.usefixtures("coin")
def test_whoever_looks_sees_labels_until_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(good=0.9, bad=0.1) as server:
        assert evaluate(server, tmp_path, "--models=good,bad", "--episodes=2", "--blind") == 0
    out, err = capsys.readouterr()
    assert "A from start 0" in err
    assert "good" not in err
    assert "bad" not in err
    assert ("A was good" in out) != ("B was good" in out)


@pytest.mark.usefixtures("coin")
def test_an_evaluation_goes_on_where_it_was_interrupted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    count = 0

    def interrupting(observation: Mapping[str, Any]) -> Any:
        nonlocal count
        count += 1
        if count == 4:
            raise_signal()
        return planted("good", 0.9)()(observation)

    with InferenceServer({"good": lambda: interrupting, "bad": planted("bad", 0.1)}, port=0, fps=10.0) as server:
        assert evaluate(server, tmp_path, "--models=good,bad", "--episodes=4") == 130
        before = trials(tmp_path)
        assert 0 < len(before) < 8
        err = capsys.readouterr().err
        assert "the same command goes on from here" in err
        assert evaluate(server, tmp_path, "--models=good,bad", "--episodes=4") == 0
    assert f"going on with the evaluation in {tmp_path}" in capsys.readouterr().err.replace("\n", " ").replace(
        "  ", " "
    )
    after = trials(tmp_path)
    assert after[: len(before)] == before
    assert len({(trial["model"], trial["start"]) for trial in after}) == len(after) == 8


@pytest.mark.usefixtures("coin")
@pytest.mark.skipif(importlib.util.find_spec("mcap") is None, reason="needs the extra record")
def test_what_a_killed_evaluation_was_recording_gets_its_index(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from filmed import record
    from offboard_client.recording import is_finished

    left = record(tmp_path / "recordings")
    left.write_bytes(left.read_bytes()[:-40])
    hour_ago = time.time() - 3600
    os.utime(left, (hour_ago, hour_ago))
    with serve(good=0.9) as server:
        where = ["coin", f"127.0.0.1:{server.port}", f"--output-dir={tmp_path}"]
        assert cli.main(["evaluate", *where, "--seconds=0.2", "--models=good", "--episodes=1"]) == 0
    assert is_finished(left)
    assert f"{left.name} was left behind unfinished" in capsys.readouterr().err.replace("\n", " ")


def raise_signal() -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("coin")
def test_a_model_that_fails_ends_it_unless_it_shall_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> Callable[[Any], Any]:
        raise RuntimeError("no weights")

    with InferenceServer({"good": planted("good", 0.9), "broken": broken}, port=0, fps=10.0) as server:
        assert evaluate(server, tmp_path / "a", "--models=good,broken", "--episodes=5") == 1
        said = capsys.readouterr().err.replace("\n", " ").replace("  ", " ")
        assert "nothing was played, for not every model can be: broken: load_failed" in said
        assert not trials(tmp_path / "a")
        assert evaluate(server, tmp_path / "b", "--models=good,broken", "--episodes=5", "--go-on") == 1
        said = capsys.readouterr().err.replace("\n", " ").replace("  ", " ")
        assert "what cannot be played now is tried all the same, 3 times in a row: broken: load_failed" in said
        assert "broken is given up: 3 of its trials in a row ended by an error" in said
        # What this run still plays, without what was given up; and in the end what the same command would play.
        assert re.findall(r"\((\d+) left", said) == ["9", "8", "7", "6", "3", "2", "1"]
        assert "5 trials left, 3 of which ended by an error; the same command goes on from here" in said
    assert report(tmp_path / "b")["facts"]["given up after 3 errors in a row"] == "broken"
    outcomes = [(trial["model"], trial["outcome"]) for trial in trials(tmp_path / "b")]
    assert outcomes.count(("broken", "error")) == 3
    assert sum(model == "good" for model, _ in outcomes) == 5


@pytest.mark.usefixtures("coin")
def test_every_model_is_looked_at_before_the_first_trial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is none, and one of another robot, would else end it when its turn comes; all of them are named."""
    other = declare(observation={"robot_state.q": (1,)}, action={"target_joints": (1,)})(planted("x", 1.0)())
    late = declare(observation={"robot_state.dq": (1,)}, action={"target_grip": (1,)})(planted("x", 1.0)())
    models = {"good": planted("good", 1.0), "other": other, "late": late}
    with InferenceServer(models, port=0, fps=10.0) as server:
        for more in ([], ["--blind"]):
            assert evaluate(server, tmp_path / "e", "--models=good,other,late,lost", "--episodes=2", *more) == 1
            said = " ".join(capsys.readouterr().err.split())
            assert not trials(tmp_path / "e")
            assert said.count("the robot and the policy do not fit") == 2
            assert "target_joints: plays target_grip" in said
            assert "robot_state.dq: " in said
            assert "there is no model" in said, said
            assert ("other: " in said) == (not more)
        assert evaluate(server, tmp_path / "f", "--models=good,lost", "--episodes=2", "--go-on") == 1
        assert "nothing was played" in capsys.readouterr().err
        # What ended by an error is played again by the same command: it is not over.
        assert evaluate(server, tmp_path / "g", "--models=good,late", "--episodes=2", "--go-on") == 1
        said = " ".join(capsys.readouterr().err.split())
        assert "what cannot be played now is tried all the same, 3 times in a row: late: " in said
        assert "2 trials left, 2 of which ended by an error" in said
    assert not trials(tmp_path / "f")
    found = {(trial["model"], trial["outcome"]) for trial in trials(tmp_path / "g")}
    assert found == {("good", "success"), ("late", "error")}


@pytest.mark.usefixtures("coin")
def test_a_model_is_compared_with_itself_where_that_is_said(tmp_path: Path) -> None:
    with serve(good=0.9) as server:
        assert evaluate(server, tmp_path, "--models=good,good?", "--episodes=3") == 0
    (comparison,) = report(tmp_path)["comparisons"]
    assert (comparison["first"], comparison["second"], comparison["better"]) == ("good", "good?", None)


@pytest.mark.usefixtures("coin")
def test_a_trial_is_annulled_with_a_reason_and_played_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(good=0.9) as server:
        assert evaluate(server, tmp_path, "--models=good", "--episodes=3") == 0
        options = ["--models=good", "--episodes=3", "--annul=2", "--reason=the camera was blocked"]
        assert evaluate(server, tmp_path, *options) == 0
        assert "annulled: trial 2, good from start 1; it was success" in " ".join(capsys.readouterr().err.split())
        assert evaluate(server, tmp_path, *options[:-1], "--reason=again") == 0
        assert "trial 2 was annulled already: the camera was blocked" in " ".join(capsys.readouterr().err.split())
        for number in (0, 5, 99):
            assert evaluate(server, tmp_path, *options[:2], f"--annul={number}", "--reason=x") == 1
            said = " ".join(capsys.readouterr().err.split())
            assert f"there is no trial {number}; they are numbered from 1 to 4" in said
    found = report(tmp_path)
    assert [trial["outcome"] for trial in found["trials"]].count("annulled") == 1
    assert found["models"][0]["trials"] == 3
    assert "the camera was blocked" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.usefixtures("coin")
def test_the_command_with_a_mistyped_model_mended_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(old=0.5, new=0.5) as server:
        assert evaluate(server, tmp_path, "--models=old,nwe", "--episodes=2", "--seconds=0.3") == 1
        assert "there is no model 'nwe'" in " ".join(capsys.readouterr().err.split())
        assert evaluate(server, tmp_path, "--models=old,new", "--episodes=1", "--blind") == 0
    assert {trial["model"] for trial in trials(tmp_path)} == {"old", "new"}


@pytest.mark.usefixtures("coin")
def test_a_trial_that_failed_is_played_again_blind_and_what_comes_later_was_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = 0

    def once(observation: Mapping[str, Any]) -> Any:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise RuntimeError("the network of secret-bad was gone")
        return planted("bad", 0.5)()(observation)

    models = {"secret-good": planted("good", 0.9), "secret-bad": lambda: once}
    options = ["--models=secret-good,secret-bad", "--episodes=3", "--blind", "--go-on"]
    with InferenceServer(models, port=0, fps=10.0) as server:
        assert evaluate(server, tmp_path, *options) == 1
        out, err = capsys.readouterr()
        assert "1 trial left, 1 of which ended by an error" in " ".join(err.split())
        written = [(tmp_path / f"report.{suffix}").read_text("utf-8") for suffix in ("md", "json", "csv", "html")]
        assert not any("secret" in said for said in (out, err, *written))
        assert evaluate(server, tmp_path, *options) == 0
        assert "B was secret-" in capsys.readouterr().out
        assert "it was not" not in (tmp_path / "report.md").read_text("utf-8")
        assert evaluate(server, tmp_path, *options, "--annul=2", "--reason=a shadow") == 0
    text = (tmp_path / "report.md").read_text("utf-8")
    assert "From trial 8 on it was not, for that was known by then." in text
    assert "a shadow (annulled when the models' names were known)" in text


@pytest.mark.usefixtures("coin")
def test_a_report_that_cannot_be_written_leaves_its_verdict_at_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").mkdir()  # as on a full disk, a file cannot be put there
    with serve(good=0.9, bad=0.1) as server:
        assert evaluate(server, tmp_path, "--models=good,bad", "--episodes=2") == 1
        out, err = capsys.readouterr()
        assert "2 of 2" in out
        assert "good and bad: not decided" in out
        said = " ".join(err.split())
        assert "report.json: it cannot be written: Is a directory. The trials are kept in " in said
        assert "the same command writes the report" in said
        assert not [path.name for path in tmp_path.iterdir() if path.suffix == ".new"]
        (tmp_path / "report.json").rmdir()
        assert evaluate(server, tmp_path, "--models=good,bad", "--episodes=2") == 0
    assert len(report(tmp_path)["trials"]) == 4


@pytest.mark.usefixtures("coin")
def test_a_full_disk_ends_it_and_the_same_command_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, sync = 0, os.fsync

    def full(file: int) -> None:
        nonlocal synced
        synced += 1
        if synced > 3:  # the first line of the log, and two trials
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(file)

    with serve(good=0.9, bad=0.1) as server:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            assert evaluate(server, tmp_path, "--models=good,bad", "--episodes=2") == 1
        out, err = capsys.readouterr()
        assert "2 trials of 2 models; 2 of the plan not played" in " ".join(out.split())
        assert "No space left on device. The trials before are kept; the one that had just ended is played again" in (
            " ".join(err.split())
        )
        assert len(trials(tmp_path)) == 2
        assert evaluate(server, tmp_path, "--models=good,bad", "--episodes=2") == 0
    assert len(trials(tmp_path)) == 4


@pytest.mark.usefixtures("coin")
def test_the_report_says_when_where_and_with_what(tmp_path: Path) -> None:
    with serve(always=1.0, never=0.0) as server:
        more = ["--models=always,never", "--episodes=50", "--until=decided", "--seed=3", "--measure=success"]
        assert evaluate(server, tmp_path, *more) == 0
    facts = report(tmp_path)["facts"]
    assert facts["starts"] == "50, seeds 3 to 52"
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d to .*\d\d:\d\d UTC", facts["played"])
    assert facts["offboard-client"] == version("offboard-client")
    assert "joint_velocity=2.0" in facts["limits"]
    assert "of the plan not played: every two models are told apart." in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.usefixtures("coin")
def test_at_a_terminal_the_trial_that_is_under_way_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from terminal import Terminal

    terminal = Terminal(monkeypatch)
    with serve(good=0.9, bad=0.1) as server, terminal.stands_for("stderr"):
        assert evaluate(server, tmp_path, "--models=good,bad", "--episodes=2", "--blind") == 0
    shown = [line for line in terminal.lines if re.search(r"trial 3: [AB] from start 1 ", line) and "0:00:00" in line]
    assert shown, terminal.lines
    assert not any("good" in line or "bad" in line for line in terminal.lines)


@pytest.mark.usefixtures("coin")
def test_every_model_of_a_server_is_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(one=1.0, two=0.0) as server:
        line = ["validate", f"--port={server.port}", f"--output_dir={tmp_path}", "--robot=coin", "--seconds=0.2"]
        assert cli.main([*line, "--episodes=2", "--no-record"]) == 0
    assert {trial["model"] for trial in trials(tmp_path)} == {"one", "two"}


@pytest.mark.usefixtures("coin")
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "--models a,b,c names the models"),
        (["--models=a,a", "--episodes=0"], "--episodes is 0"),
        (
            ["--models=a, a"],
            "--models names a twice, and each model is compared with the others; to compare it with itself",
        ),
        (["--models=a", "--annul=3"], "--annul NUMBER and --reason TEXT go together"),
        (["--models=a", "--model-id=b"], "--models a,b,c, not --model-id"),
        (["--models=a", "--level=2"], "--level is 2"),
        (["--models=a", "--annul=3", "--reason=x"], "--annul 3: there is no trial 3; none was played yet"),
    ],
)
def test_what_is_no_evaluation_is_said(
    options: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(a=1.0) as server:
        assert evaluate(server, tmp_path, *options) in (1, 2)
    assert says in capsys.readouterr().err.replace("\n", " ").replace("  ", " ")


@pytest.mark.usefixtures("coin")
def test_trials_under_other_conditions_are_of_another_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(a=1.0) as server:
        assert evaluate(server, tmp_path, "--models=a", "--episodes=1") == 0
        assert evaluate(server, tmp_path, "--models=a", "--episodes=2", "--speed=0.5") in (1, 2)
        said = capsys.readouterr().err.replace("\n", " ").replace("  ", " ")
        assert "was begun otherwise (playing:" in said
        assert len(trials(tmp_path)) == 1
        assert evaluate(server, tmp_path, "--models=a", "--episodes=2") == 0
        (tmp_path / "conditions.json").write_text("[]")
        assert evaluate(server, tmp_path, "--models=a", "--episodes=2") == 1
        assert "these are no conditions of an evaluation" in " ".join(capsys.readouterr().err.split())
        (tmp_path / "conditions.json").unlink()
        assert evaluate(server, tmp_path, "--models=a", "--episodes=2", "--seconds=3") == 1
        assert "conditions.json cannot be read, and says under which conditions" in " ".join(
            capsys.readouterr().err.split()
        )


@pytest.mark.usefixtures("coin")
def test_a_name_that_is_another_policy_now_does_not_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def served(fps: float) -> InferenceServer:
        return InferenceServer({"secret": planted("secret", 0.5), "other": planted("other", 0.5)}, port=0, fps=fps)

    with served(10.0) as server:
        assert evaluate(server, tmp_path, "--models=secret,other", "--episodes=1", "--blind") == 0
    assert "action_fps=10.0" in report(tmp_path)["facts"]["served as secret"]
    with served(5.0) as server:
        assert evaluate(server, tmp_path, "--models=secret,other", "--episodes=2", "--blind") == 1
        said = " ".join(capsys.readouterr().err.split())
        assert re.search(r"[AB] is another policy than that of the trials before \(action_fps: 10\.0, now 5\.0\)", said)
        assert "secret" not in said
    assert len(trials(tmp_path)) == 2
    with served(10.0) as server:
        assert evaluate(server, tmp_path, "--models=secret,other", "--episodes=2", "--blind") == 0
    assert len(trials(tmp_path)) == 4


@pytest.mark.usefixtures("coin")
def test_what_a_client_may_pin_is_the_same_too_and_is_kept_where_it_was_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another checkpoint under the same id, codec and rate. Conditions of earlier versions have no such names."""
    callables: Any = import_module("offboard_core.catalog.callables")
    named = callables._of_callable

    def served(commit: str, **more: str) -> InferenceServer:
        def hub(name: str, value: Any) -> Any:
            extras = {"revision": commit, "policy_type": "pi", **more}
            return replace(named(name, value), location="hf://org/pi", extras=extras)

        monkeypatch.setattr(callables, "_of_callable", hub)
        return serve(one=1.0)

    kept = tmp_path / "conditions.json"
    with served("aaaa") as server:
        assert evaluate(server, tmp_path, "--models=one", "--episodes=1") == 0
        conditions = json.loads(kept.read_text())
        assert conditions["policies"]["one"]["revision"] == "aaaa"
        for name in ("spec_hash", "checkpoint_path", "revision", "policy_type", "chunk_length"):
            conditions["policies"]["one"].pop(name, None)
        kept.write_text(json.dumps(conditions))
        assert evaluate(server, tmp_path, "--models=one", "--episodes=2") == 0
        assert json.loads(kept.read_text())["policies"]["one"]["revision"] == "aaaa"
    capsys.readouterr()
    with served("bbbb") as server:
        assert evaluate(server, tmp_path, "--models=one", "--episodes=3") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(r"trials before \(revision: aaaa, now bbbb\)", said), said
    assert len(trials(tmp_path)) == 2
    with served("aaaa", modality_config="of another robot") as server:  # which nothing that has a name says
        assert evaluate(server, tmp_path, "--models=one", "--episodes=3") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(r"trials before \(spec_hash: [0-9a-f]{16}, now [0-9a-f]{16}\)", said), said
    assert len(trials(tmp_path)) == 2
    with served("aaaa") as server:  # at another port
        assert evaluate(server, tmp_path, "--models=one", "--episodes=3") == 0


def test_what_differs_tells_nobody_which_model_is_which_while_it_is_blind(tmp_path: Path) -> None:
    made: Any = import_module("offboard_client.cli.evaluate_conditions").Conditions
    before = {"action_fps": "10.0", "checkpoint_path": "pi/1", "spec_hash": "a"}
    for now, said in (
        ({"checkpoint_path": "act/1", "spec_hash": "b"}, "(checkpoint_path, of a model that is blind)"),
        ({"spec_hash": "b"}, "(spec_hash: a, now b)"),
    ):
        conditions = made(tmp_path / "conditions.json", {}, False)
        conditions.same_policies({"pi": before}, lambda text: text.replace("pi", "A"))
        with pytest.raises(ConfigurationError) as error:
            conditions.same_policies({"pi": before | now}, lambda text: text.replace("pi", "A"))
        assert f"A is another policy than that of the trials before {said}" in str(error.value)


@pytest.mark.usefixtures("coin")
def test_two_evaluations_do_not_share_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(a=1.0, b=0.0) as server:
        assert evaluate(server, tmp_path, "--models=a", "--episodes=1") == 0
        assert evaluate(server, tmp_path, "--models=a,b", "--episodes=1") in (1, 2)
    assert "this evaluation was begun otherwise" in capsys.readouterr().err.replace("\n", " ").replace("  ", " ")
    assert len(trials(tmp_path)) == 1


def test_a_real_robot_is_judged_by_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(install(tmp_path / "plugins", "hand", simulated=False, judged=True)))
    limits = tmp_path / "limits.toml"
    limits.write_text("position_offset = 0.1\n")
    asked: list[str] = []
    said = iter(["q", "", "p 0.5 half of it", "", "what?", "a blocked", "", "s", "", "f #slip"])

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return next(said)

    monkeypatch.setattr("builtins.input", ask)
    with serve(good=0.9) as server:
        options = ["--models=good", "--episodes=3", f"--limits={limits}"]
        assert evaluate(server, tmp_path / "e", *options, robot="hand") == 1
        assert "stdin is no terminal" in capsys.readouterr().err.replace("\n", " ").replace("  ", " ")
        assert not asked
        monkeypatch.setattr("sys.stdin.isatty", lambda: True)
        assert evaluate(server, tmp_path / "e", *options, robot="hand") == 0
    found = [(trial["start"], trial["outcome"], trial.get("score")) for trial in trials(tmp_path / "e")]
    assert found == [(0, "partial", 0.5), (1, "annulled", None), (1, "success", None), (2, "fail", None)]
    assert "set the scene up for start 0" in asked[0]
    assert "none of s, p, f" in capsys.readouterr().err


@pytest.mark.usefixtures("coin")
@pytest.mark.parametrize("parallel", [1, 2])
def test_another_policy_between_two_trials_ends_it_and_what_was_counted_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], parallel: int
) -> None:
    """The same ids of another server while it goes on, whatever it shall go on after."""
    models = {"secret": planted("secret", 0.5), "other": planted("other", 0.5)}
    options = ["--models=secret,other", "--episodes=8", "--blind", "--go-on", f"--parallel={parallel}"]
    append = TrialLog.append
    with contextlib.ExitStack() as stack, contextlib.ExitStack() as before:
        server = before.enter_context(InferenceServer(models, port=0, fps=10.0))

        def swap(log: TrialLog, trial: Trial) -> None:
            append(log, trial)
            if len(log.trials) == 3:
                before.close()
                stack.enter_context(InferenceServer(models, port=server.port, fps=5.0))

        monkeypatch.setattr(TrialLog, "append", swap)
        assert evaluate(server, tmp_path, *options) == 1
    output = capsys.readouterr()
    said = " ".join(output.err.split())
    assert re.search(r"[AB] is another policy than that of the trials before \(action_fps: 10\.0, now 5\.0\)", said)
    assert "3 trials of 2 models" in output.out if parallel == 1 else True
    assert "secret" not in said
    counting = [trial for trial in trials(tmp_path) if trial["outcome"] != "error"]
    assert 3 <= len(counting) < 3 + parallel, "but for one that had ended when the server did"
    assert report(tmp_path)["trials"]
    assert json.loads((tmp_path / "conditions.json").read_text())["policies"]["other"]["action_fps"] == "10.0"
