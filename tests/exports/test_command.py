"""``offboard export --to FORM``, with a form that only writes down what it is told."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from filmed import begin, record, sample, tick
from offboard_client import cli
from offboard_client.errors import ConfigurationError, RecordingFailed
from offboard_client.evaluation import Clip, Plan, Trial, TrialLog, edit_review, log_of
from offboard_client.exports import Added, DataSet, ExportEntry, Growing, choose_attempts
from offboard_client.play import Outcome
from offboard_client.plugins import Chosen
from offboard_client.recording import Recorder, finish


@dataclass(frozen=True, kw_only=True)
class Options:
    colour: str = "red"


class Written:
    """Takes what is not called ``no``, and fails at what is called ``broken``."""

    all: ClassVar[list[Any]] = []

    def __init__(self, options: Options, folder: Path) -> None:
        self.options, self.folder, self.inside, self.taken = options, folder, list[str](), ""
        self.end = ""
        Written.all.append(self)

    def has(self, attempt: Any, /) -> bool:
        return attempt.name in (self.folder.read_text().split() if self.folder.exists() else ())

    def add(self, episode: Any, attempt: Any, progress: Any, /) -> Added:
        progress(0.5)
        error = {"no": RecordingFailed("it is red"), "stop": KeyboardInterrupt(), "full": OSError(28, "No space left")}
        if raised := error.get(self.options.colour) if len(self.inside) == 1 else None:
            raise raised
        self.taken = attempt.name
        return Added(10, 2, 1)

    def commit(self) -> None:
        self.inside.append(self.taken)

    def finish(self) -> str:
        self.end = "finished"
        return "use it so"

    def discard(self) -> None:
        self.end = "discarded"


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = ExportEntry(summary="A toy.", factory=Written, options=Options)
    monkeypatch.setattr("offboard_client.cli.export.choose_export", lambda name, others: Chosen(name, "toys 1", entry))
    monkeypatch.setattr(Written, "all", [])


def three(folder: Path) -> list[Path]:
    """Recordings that came out as a success, as nobody knows what, and as a failure."""
    return [record(folder, 4, Outcome(success), number=number) for number, success in enumerate((True, None, False))]


def export(folder: Path, *more: str) -> int:
    return cli.main(["export", str(folder), "--to", "toy", *more])


def test_a_form_is_told_every_attempt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = three(tmp_path)
    assert export(tmp_path, "--colour", "blue") == 0
    (written,) = Written.all
    assert isinstance(written, DataSet)
    assert written.options.colour == "blue"
    assert written.folder == tmp_path / "toy"
    assert sorted(written.inside) == sorted(path.stem for path in paths)
    assert written.end == "finished"
    said = capsys.readouterr().out
    assert "3 attempts of 3 written into" in said
    assert "30 frames, 6 of them led by a person" in said
    assert "3 frames left out, at which nothing was commanded" in said
    assert said.splitlines()[-1] == "use it so"


@pytest.mark.parametrize(
    ("colour", "status", "inside", "end", "says"),
    [
        ("no", 1, 1, "finished", "is left out: it is red"),
        ("stop", 130, 1, "finished", "the same command goes on from here"),
        ("full", 1, 1, "discarded", "No space left"),
    ],
)
def test_what_goes_wrong_leaves_whole_attempts(
    colour: str, status: int, inside: int, end: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three(tmp_path)
    assert export(tmp_path, "--colour", colour) == status
    (written,) = Written.all
    assert (len(written.inside), written.end) == (inside, end)
    assert says in capsys.readouterr().err.replace("\n ", "")


def test_what_is_there_is_skipped_and_nothing_new_is_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = three(tmp_path / "in")
    out = tmp_path / "out"
    out.write_text(" ".join(path.stem for path in paths))
    assert export(tmp_path / "in", f"--output-dir={out}", "--json") == 0
    (written,) = Written.all
    assert (written.inside, written.end) == ([], "discarded")
    found = json.loads(capsys.readouterr().out)
    assert (len(found["skipped"]), found["written"], found["frames"]) == (3, [], 0)


def test_a_trial_whose_evaluation_is_not_found_is_left_out_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may have been annulled: its recordings are named by what they are linked to, or were copied out."""
    (disk := tmp_path / "disk" / "store").mkdir(parents=True)
    (ev := tmp_path / "ev").mkdir()
    (ev / "recordings").symlink_to(disk)
    annulled, counted = [record(ev / "recordings", 4, trial=number, start=number) for number in (1, 2)]
    with TrialLog(ev / "trials.jsonl", Plan(("m",), (1, 2), seed=0)) as log:
        for start, path in enumerate((annulled, counted), 1):
            edit_review(path, {"outcome": "success"}, {"outcome": None})
            log.append(Trial("m", start, "success", recording=path.name))
        log.annul(0, "the camera was blocked")
    shutil.copytree(disk, tmp_path / "best")
    own = record(tmp_path / "best", 4)  # of a run that is no evaluation's
    found = {
        (tmp_path, "ev"): [counted.stem], (tmp_path, "ev/recordings"): [counted.stem], (disk, "."): [],
        (disk, annulled.name): [], (tmp_path, "disk/store"): [], (tmp_path, "best"): [own.stem],
    }  # fmt: skip
    for (here, named), inside in found.items():
        for more in ([], ["--score", "success"]):
            monkeypatch.chdir(here)
            Written.all.clear()
            assert (export(Path(named), *more, "--output-dir", str(tmp_path / "out")) == 0) is bool(inside), named
            assert [name for each in Written.all for name in each.inside] == inside, named
            said = " ".join(capsys.readouterr().err.split())
            lost = "is of a trial whose evaluation is not found, and may have been annulled: name the evaluation's own"
            assert (lost in said) is (named not in ("ev", "ev/recordings")), named


def test_a_score_is_a_persons_then_the_trials_then_the_tasks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "recordings"
    success, nobody, failure = three(folder)
    with TrialLog(tmp_path / "trials.jsonl", Plan(("m",), (1, 2, 3), seed=0)) as log:
        log.append(Trial("m", 1, "stall", recording=success.name))
        log.append(Trial("m", 2, "partial", 0.5, recording=nobody.name))

        def chosen(*outcomes: str) -> set[str]:
            return {attempt.path.name for attempt in choose_attempts(folder.glob("*.mcap"), outcomes)[0]}

        assert chosen() == {success.name, nobody.name, failure.name}
        assert chosen("success") == set()
        assert chosen("stall", "fail") == {success.name, failure.name}
        assert chosen("partial") == {nobody.name}
        edit_review(nobody, {"outcome": "success"}, {"outcome": None})
        assert chosen("success") == {nobody.name}
    assert (
        cli.main(["export", str(tmp_path), "--to", "csv", "--score", "success", "--json"]) == 0
    )  # an evaluation's folder
    (written,) = json.loads(capsys.readouterr().out)["written"]
    assert Path(written).stem == nobody.stem
    assert export(folder, "--score", "sucess") == 2
    assert "success" in capsys.readouterr().err
    assert export(folder, "--score", "unsafe") == 1
    assert "none of 3 recordings" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["toy", "csv"])
def test_an_annulled_trial_is_no_training_data_whatever_was_said_of_its_recording(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "recordings"
    annulled, error, kept = three(folder)
    for path in (annulled, error, kept):
        edit_review(path, {"outcome": "success"}, {"outcome": None}, clips=[Clip("a", (0.0, 1.0), (1, 2))])
    with TrialLog(tmp_path / "trials.jsonl", Plan(("m",), (1, 2, 3), seed=0)) as log:
        log.append(Trial("m", 1, "success", recording=annulled.name))
        log.append(Trial("m", 2, "error", recording=error.name))
        log.append(Trial("m", 3, "fail", recording=kept.name))
        log.annul(0, "the camera was blocked")

    for more in (("--score", "success"), ("--score", "success", "--clips")):
        assert cli.main(["export", str(tmp_path), "--to", form, *more, f"--output-dir={tmp_path / more[-1]}"]) == 0
        output = capsys.readouterr()
        said = " ".join(output.err.split())
        assert f"{annulled.name} is left out: its trial was annulled, and counts as success in no report" in said
        assert f"{error.name} is left out: its trial ended by an error, and counts as success in no report" in said
        assert "1 " in output.out
    assert cli.main(["export", str(tmp_path), "--to", form, "--score", "fail", f"--output-dir={tmp_path / 'f'}"]) == 1
    assert "left out" not in capsys.readouterr().err
    if form == "toy":
        assert cli.main(["export", str(tmp_path), "--to", form]) == 0
        assert sorted(Written.all[-1].inside) == sorted((error.stem, kept.stem))
        assert f"{annulled.name} is left out: its trial was annulled, and counts in no report" in " ".join(
            capsys.readouterr().err.split()
        )


@pytest.mark.parametrize("inside", ["recordings", "."])
def test_an_annulled_trial_is_none_however_its_recording_is_named(
    inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "recordings"
    annulled, *others = three(folder)
    for path in (annulled, *others):
        edit_review(path, {"outcome": "success"}, {"outcome": None})
    with TrialLog(tmp_path / "trials.jsonl", Plan(("m",), (1, 2, 3), seed=0)) as log:
        for start, path in enumerate((annulled, *others), 1):
            log.append(Trial("m", start, "success", recording=path.name))
        log.annul(0, "the camera was blocked")
    linked = tmp_path / "elsewhere" / "linked"
    linked.parent.mkdir()
    linked.symlink_to(folder)
    (linked.parent / "other.mcap").symlink_to(annulled)
    monkeypatch.chdir(tmp_path / inside)
    here = Path(os.path.relpath(folder))
    for named in (".", here, here / annulled.name, folder / "..", linked, linked / annulled.name, linked.parent):
        Written.all.clear()
        cli.main(["export", str(named), "--to", "toy", "--score", "success"])
        taken = [name for each in Written.all for name in each.inside]
        only = Path(named).name == annulled.name
        assert sorted(taken) == ([] if only or named == linked.parent else sorted(path.stem for path in others)), named


def test_the_log_of_recordings_that_lie_where_there_is_room_stays_beside_them(tmp_path: Path) -> None:
    """Their folder in the evaluation's is a link; another evaluation may be where it leads."""
    (tmp_path / "disk" / "recordings").mkdir(parents=True)
    (tmp_path / "e").mkdir()
    recordings = tmp_path / "e" / "recordings"
    recordings.symlink_to(tmp_path / "disk" / "recordings")
    assert log_of(recordings) == tmp_path / "e" / "trials.jsonl"
    for log in (tmp_path / "disk" / "trials.jsonl", tmp_path / "e" / "trials.jsonl"):
        log.touch()
        assert log_of(recordings) == log


@pytest.mark.parametrize("code", ["recording_failed", "killed"])
def test_a_recording_that_ends_before_its_trial_did_does_not_show_what_came_of_it(code: str, tmp_path: Path) -> None:
    folder, said = tmp_path / "recordings", list[str]()
    cut = record(folder, 4, Outcome(None, (code, "the disk was full")))
    with TrialLog(tmp_path / "trials.jsonl", Plan(("m",), (1,), seed=0)) as log:
        log.append(Trial("m", 1, "success", recording=cut.name))

    def chosen(*outcomes: str, clips: bool = False) -> list[str]:
        return [attempt.name for attempt in choose_attempts([cut], outcomes, clips, said.append)[0]]

    assert chosen("success") == []
    assert said == [f"{cut.name} is left out: it ends before its trial did, of which success was said"]
    assert chosen() == [cut.stem]
    edit_review(cut, {}, {}, clips=[Clip("a", (0.0, 1.0), (1, 2))])
    assert len(chosen("success", clips=True)) == 1, "a person saw what is in the range"
    edit_review(cut, {"outcome": "success"}, {"outcome": None})
    assert chosen("success") == [cut.stem], "a person saw how far it goes"


def test_an_episode_that_its_connection_ended_is_no_failure_of_the_policy(tmp_path: Path) -> None:
    failures = (("connection_lost", "cut"), ("policy_failed", "it raised"))
    lost, failed = (
        record(tmp_path, 4, Outcome(False, failure), number=number) for number, failure in enumerate(failures)
    )
    found = {attempt.path.name: attempt.outcome for attempt in choose_attempts((lost, failed))[0]}
    assert found == {lost.name: "error", failed.name: "fail"}


def test_ranges_are_attempts_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, *_ = three(tmp_path)
    assert export(tmp_path, "--clips") == 1
    assert "has a clip: `offboard replay" in capsys.readouterr().err.replace("\n ", "")
    edit_review(path, {}, {}, clips=[Clip("b", (2.0, 3.0), (2, 3)), Clip("a", (0.0, 1.0), (1, 2), "grasp")])
    assert export(tmp_path, "--clips") == 0
    assert Written.all[-1].inside == [f"{path.stem}#a", f"{path.stem}#b"]


def test_a_broken_review_is_said_and_the_rest_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, *_ = three(tmp_path)
    path.with_name(f"{path.stem}.review.json").write_text("{")
    assert export(tmp_path) == 1
    assert len(Written.all[-1].inside) == 2
    assert f"{path.name} is left out: {path.stem}.review.json is no review" in capsys.readouterr().err.replace(
        "\n ", ""
    )


def test_recordings_beside_and_within_an_evaluations_folder_are_all_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beside, within = record(tmp_path, 4).rename(tmp_path / "beside.mcap"), three(tmp_path / "recordings")
    assert export(tmp_path) == 0
    assert sorted(Written.all[-1].inside) == sorted(path.stem for path in (beside, *within))
    within[0].rename(within[0].with_name(beside.name))
    assert export(tmp_path) == 1
    assert f"{beside.name} is in {tmp_path} and in its recordings" in capsys.readouterr().err.replace("\n", " ")


def test_help_has_the_forms_own_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert export(Path("x"), "--help") == 0
    said = capsys.readouterr().out
    assert "--colour" in said
    assert "--clips" in said
    assert "--score" in said


@pytest.mark.parametrize("empty", [False, True])
def test_a_folder_is_there_whole_or_as_it_was(tmp_path: Path, empty: bool) -> None:
    target = tmp_path / "set"
    if empty:
        target.mkdir()
    growing = Growing(target)
    growing.path.mkdir()  # whoever writes makes it
    (growing.path / "a").write_text("1")
    with pytest.raises(ConfigurationError, match="another process writes"):
        Growing(target)
    growing.keep()
    assert (target / "a").read_text() == "1"
    growing = Growing(target)
    (growing.path / "a").write_text("2")
    growing.drop()
    assert (target / "a").read_text() == "1"
    growing = Growing(target)
    (growing.path / "a").write_text("2")
    growing.keep()
    assert (target / "a").read_text() == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    # Killed while it was written, and between the two renames at the end.
    (tmp_path / ".set.part").mkdir()
    (tmp_path / ".set.part" / "half").write_text("")
    target.rename(tmp_path / ".set.before")
    growing = Growing(target)
    assert (growing.path / "a").read_text() == "2"
    assert not (growing.path / "half").exists()
    growing.drop()
    assert (target / "a").read_text() == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_an_unfinished_recording_is_taken_and_stays_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its run was killed: what it has until then is an attempt, of which nobody knows what came of it."""
    recorder = Recorder(tmp_path, {})
    begin(recorder)
    for number in range(4):
        sample(recorder, number)
        tick(recorder, number, {"target_grip": [0.0]})
    file = recorder._file  # as a process that is no more leaves it
    assert file is not None
    file.abandon()
    before = file.path.read_bytes()
    assert choose_attempts([file.path])[0][0].outcome is None
    finish(shutil.copy(file.path, tmp_path / "finished.mcap"), quiet=0.0)
    assert choose_attempts([tmp_path / "finished.mcap"])[0][0].outcome is None
    (tmp_path / "finished.mcap").unlink()
    assert export(tmp_path) == 0
    assert len(Written.all[-1].inside) == 1
    assert file.path.read_bytes() == before
    assert f"{file.path.name} has no end: its run was killed," in capsys.readouterr().err.replace("\n", " ")
