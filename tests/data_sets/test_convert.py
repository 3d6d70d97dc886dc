"""``offboard convert``, with a form that a person can read: which episodes, which rows, and what goes wrong."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rows_form
from filmed import begin, sample, tick
from offboard_client import cli
from offboard_client.errors import ConfigurationError
from offboard_client.evaluation import Clip, edit_review
from offboard_client.play import Outcome
from offboard_client.recording import Recorder
from offboard_core.codecs import StateVector, TaskText, timed
from offboard_core.data_sets import Conversion, DataSetForm, Recordings
from offboard_core.plugins import CODEC, Plugins
from offboard_core.types import Checkpoint, CodecMeta, Field
from rows_form import POSE, Plugin, recorded, rows


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = Plugins.of(rows=Plugin)
    monkeypatch.setattr("offboard_core.cli.convert.Plugins.discover", lambda: plugins)


def convert(source: Path, out: Path | str, *more: str, codec: str = "rows.commanded") -> int:
    return cli.main(["convert", str(source), "--codec", codec, "--output-dir", str(out), *more])


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.replace("\n ", "")


def described(out: Path) -> dict[str, Any]:
    return json.loads((out / "meta" / "offboard.json").read_text())


def files(out: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_rows_are_what_the_model_sees_and_what_was_commanded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    first = recorded(rec)
    recorded(rec, 10, success=False)
    assert convert(rec, out) == 0
    shown = capsys.readouterr()
    assert f"2 episodes written into {out} through rows.commanded: 30 frames, 20 a second" in shown.out
    assert shown.out.splitlines()[-1] == "read it"
    assert shown.err == ""
    found = rows(out)
    assert [row["episode"] for row in found] == [0] * 20 + [1] * 10
    for number in (0, 7, 19):
        row = found[number]
        np.testing.assert_allclose(row["state"], [number / 7] * 7 + [0.25], atol=1e-6)
        np.testing.assert_allclose(row["action"], [*(POSE + number * np.eye(7)[0]), number / 10], atol=1e-6)
        assert row["task"] == "stack"
    assert found[0]["front"] > 0
    record = described(out)
    assert (record["codec"], record["form"], record["fps"]) == ("rows.commanded", "rows", 20.0)
    assert record["conventions"]["quaternion"] == "w x y z"
    assert record["features"]["action"] == {"shape": [8], "dtype": "float32", "names": ["actions"]}
    one, other = record["episodes"]
    assert (one["recording"], one["frames"], one["outcome"], one["model"]) == (first.name, 20, "success", "m")
    assert (other["episode_index"], other["outcome"], other["scores"]) == (1, "fail", {"share": 0.1})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "rec"]


def test_a_trajectory_is_what_was_measured_with_its_grip_as_0_or_1(tmp_path: Path) -> None:
    """Whatever the arm was commanded, and the observed grip as it is."""
    rec, out = tmp_path / "rec", tmp_path / "out"
    recorded(rec, names=("joint_delta",), grip=np.array([0.75]))
    assert convert(rec, out, codec="rows.driven") == 0
    for number, row in enumerate(rows(out)):
        np.testing.assert_allclose(row["action"], [number / 7] * 7 + [1.0], atol=1e-6)
        np.testing.assert_allclose(row["state"], [number / 7] * 7 + [0.75], atol=1e-6)


@pytest.mark.parametrize(("fps", "numbers"), [("10", [1, 3, 5, 7, 9]), ("40", [n // 2 for n in range(20)])])
def test_another_rate_takes_what_was_known_last(
    fps: str, numbers: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    recorded(rec, 10)
    monkeypatch.setattr(rows_form, "timed", lambda codec, rate: codec)  # one that says no rate
    assert convert(rec, out, "--fps", fps) == 0
    for row, number in zip(rows(out), numbers, strict=True):
        assert row["state"][0] == pytest.approx(number / 7)
        assert row["action"][0] == pytest.approx(0.1 + number)
    assert described(out)["fps"] == float(fps)


def test_frames_at_which_nothing_was_commanded_are_none(tmp_path: Path) -> None:
    rec = tmp_path / "rec"
    recorded(rec, rung=lambda number: "hold" if 5 <= number < 9 else "led" if number > 15 else "playing", empty=12)
    for codec in ("rows.commanded", "rows.driven"):
        assert convert(rec, tmp_path / codec, codec=codec) == 0
        assert len(rows(tmp_path / codec)) == 15
        (entry,) = described(tmp_path / codec)["episodes"]
        assert (entry["frames"], entry["led"]) == (15, 4)


def test_the_same_command_adds_what_is_new_and_mixes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    recorded(rec)
    assert convert(rec, out) == 0
    before = files(out)
    assert convert(rec, out) == 0
    assert "1 episode was there already" in capsys.readouterr().out
    assert files(out) == before
    moved = tmp_path / "moved"
    rec.rename(moved)
    recorded(moved, 12)
    assert convert(moved, out) == 0
    assert [row["episode"] for row in rows(out)] == [0] * 20 + [1] * 12
    assert [entry["frames"] for entry in described(out)["episodes"]] == [20, 12]
    before = files(out)
    recorded(moved, 13)
    capsys.readouterr()
    assert convert(moved, out, codec="rows.driven") == 1
    assert "was made with the codec 'rows.commanded', and now it would be 'rows.driven'" in said(capsys)
    assert convert(moved, out, "--fps", "10") == 1
    assert "plays 20.0 steps per second, and the data set has 10" in said(capsys)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "file").write_text("x")
    assert convert(moved, mine) == 1
    assert "no data set that `offboard convert` wrote" in said(capsys)
    assert files(out) == before
    assert [*mine.iterdir()] == [mine / "file"]


def test_other_options_are_not_mixed_and_one_that_came_since_is_no_difference(tmp_path: Path) -> None:
    offer = Plugins.of(rows=Plugin).get(CODEC, "rows.commanded")
    codec = offer.make(offer.options()(), Checkpoint(id="training"))

    def opened(**options: Any) -> None:
        form = DataSetForm(codec=offer.name, features=codec.features, fps=20.0, options=options)
        conversion = Conversion(tmp_path / "out", "rows", rows_form.Rows, form, codec)
        for episode in Recordings(tmp_path / "rec").episodes():
            conversion.add(episode)
        conversion.keep()

    recorded(tmp_path / "rec", 5)
    opened(horizon_sec=1.0, map={})
    opened(horizon_sec=1.0, map={}, size=224)
    with pytest.raises(ConfigurationError, match="with the horizon_sec of its options 1, and now it would be 2"):
        opened(horizon_sec=2.0, map={})


def test_episodes_are_chosen_by_what_came_of_them_and_by_what_is_said_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rec = tmp_path / "rec"
    good, bad, other = recorded(rec, 40), recorded(rec, 12, success=False), recorded(rec, 13, success=None)
    edit_review(bad, {"note": "it slipped"}, {"note": ""}, tags={"slip": True})
    edit_review(other, {"outcome": "partial", "items": 1, "items_total": 3}, {"outcome": None})
    at = tuple(round((1_800_000_000.0 + second) * 1e9) for second in (0.5, 1.0))
    edit_review(good, {}, {}, clips=[Clip("a", (0.5, 1.0), at, "grasp")])  # type: ignore[arg-type]

    def chosen(*more: str) -> list[str]:
        out = tmp_path / f"out{len([*tmp_path.iterdir()])}"
        assert convert(rec, out, *more) == 0
        return [entry["name"] for entry in described(out)["episodes"]]

    assert chosen("--outcome", "success") == chosen("--score=success") == [good.stem]
    assert sorted(chosen("--outcome", "fail", "partial")) == sorted([bad.stem, other.stem])
    assert chosen("--query", "tags = slip or note ~ SLIPPED") == [bad.stem]
    assert chosen("--query", "items >= 1 and scores.share < 1") == [other.stem]
    assert chosen("--outcome", "fail", "success", "--query", "not tags") == [good.stem]
    assert chosen("--clips") == [f"{good.stem}#a"]
    capsys.readouterr()
    out = tmp_path / "none"
    assert convert(rec, out, "--query", "score > 3") == 1
    assert "of none of 3 episodes in" in said(capsys)
    assert convert(rec, out, "--query", "scor > 3") == 1
    assert "there is no field 'scor' that an episode has; did you mean score" in said(capsys)
    assert convert(rec, out, "--query", "score >") == 2
    assert convert(rec, out, "--outcome", "good") == 2
    assert convert(rec, out, "--outcome", "unsafe") == 1
    assert "that came out as unsafe" in said(capsys)
    assert not out.exists()


def test_what_is_left_out_is_counted_by_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    rec.mkdir()
    recorder = Recorder(rec, {"task": "stack"})
    begin(recorder)
    for number in range(30):
        sample(recorder, number)
        if number >= 4:
            action = {"target_pose": POSE, "target_grip": np.array([0.0])}
            tick(recorder, number, action, rung="hold" if 10 <= number < 16 else "playing")
    recorder.ended(Outcome(True))
    kept = recorder.recorded.files[0]
    recorded(rec, 12, success=False), recorded(rec, 13), recorded(rec, 14, names=("target_joints", "target_grip"))
    assert convert(rec, out, "--outcome", "success", "--query", f"recording = {kept.name} or recording ~ 0004") == 1
    shown = capsys.readouterr().out
    assert (
        ": 20 frames, 20 a second\n10 frames left out: 6 at which nothing was commanded: the arm held, or did what its "
        "own safety made it do; 4 before all was known that a row holds\n"
    ) in shown
    assert (
        "3 episodes left out: 1 came out otherwise, or nobody said how; 1 of which the query does not hold; "
        "1 that could not be taken: why is said above"
    ) in shown
    (entry,) = described(out)["episodes"]
    assert (entry["frames"], sum(entry["left_out"].values())) == (20, 10)
    assert convert(rec, tmp_path / "again", "--outcome", "success", "--json") == 1
    assert json.loads(capsys.readouterr().out)["left_out"] == {
        "frames": {"nothing_commanded": 6, "not_yet_known": 4},
        "episodes": {"another_outcome": 1, "failures": 1},
    }


def test_an_episode_that_loses_the_greater_part_of_it_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    held = recorded(rec, 30, rung=lambda number: "hold" if number >= 14 else "playing")
    recorded(rec, 30, rung=lambda number: "hold" if number >= 15 else "playing")
    assert convert(rec, out) == 0
    assert f"{held.stem} has 14 frames, and 16 are left out: 16 at which nothing was commanded" in (
        told := said(capsys)
    )
    assert told.count("left out") == 1


def test_a_recording_of_another_robot_whose_numbers_fit_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the others are in the data set already."""
    rec, out = tmp_path / "rec", tmp_path / "out"

    def played(frame: str, unit: str = "m") -> str:
        channel = {"shape": [7], "unit": unit, "frame": frame}
        recorder = Recorder(rec, {"robot": {"measures": {"image.wrist": channel}, "plays": {"target_pose": channel}}})
        begin(recorder, 1 + len([*rec.glob("*.mcap")]))
        for number in range(10):
            sample(recorder, number)
            tick(recorder, number, {"target_pose": POSE, "target_grip": np.array([0.0])})
        recorder.ended(Outcome(True))
        return recorder.recorded.files[0].stem

    first, _ = played("base"), played("base")
    assert convert(rec, out) == 0
    assert capsys.readouterr().err == ""
    other = played("world")
    assert convert(rec, out) == 0
    assert f"{other} is of another robot: its target_pose is (m; world), and that of {first} (m; base)" in said(capsys)
    assert len(described(out)["episodes"]) == 3


def test_frames_outside_of_the_clips_are_counted_and_are_no_loss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    path = recorded(rec, 40)
    recorded(rec, 10)
    cut = [(0.5, 1.0), (0.75, 1.25)]
    at = [tuple(round((1_800_000_000.0 + second) * 1e9) for second in each) for each in cut]
    clips = [Clip(name, seconds, when, "") for name, seconds, when in zip("ab", cut, at, strict=True)]
    edit_review(path, {}, {}, clips=clips)  # type: ignore[arg-type]
    assert convert(rec, out, "--clips", "--json") == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert json.loads(shown.out)["left_out"] == {"frames": {"outside_clips": 25}, "episodes": {"no_clip": 1}}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("eval", "eval"), ("eval", "eval/set"), ("eval/", "eval/../eval/set"), ("eval", "link/set"),
        ("link", "eval/set"),
        ("eval", "elsewhere/set"), ("eval", "."), ("eval/recordings", "eval/recordings/set"), ("eval", "link"),
        ("s3://sets/a", "s3://sets/a/b"), ("s3://sets/a/b/", "s3a://sets//a"),
        ("hf://datasets/me/a@v1", "hf://datasets/me/a"),
        ("file://{}/eval", "eval/set"),
    ],
)  # fmt: skip
def test_a_data_set_in_its_own_source_is_refused_before_anything_is_read(
    source: str, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recorded(tmp_path / "elsewhere", 3)
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "recordings").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to("eval")
    before = sorted(tmp_path.rglob("*"))
    source = source.format(tmp_path)
    assert cli.main(["convert", source, "--codec", "rows.commanded", "--output-dir", target]) == 1
    assert f"the data set {target} and {source}, which it would be made of, are one in the other" in said(capsys)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("source", "target"), [("eval", "evaluated"), ("eval", "sets/eval"), ("eval/recordings", "eval/set")]
)
def test_a_data_set_beside_its_source_is_made(
    source: str, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recorded(tmp_path / "eval" / "recordings", 3)
    assert cli.main(["convert", source, "--codec", "rows.commanded", "--output-dir", target]) == 0


def test_a_range_is_just_its_own_frames(tmp_path: Path) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    path = recorded(rec, 40)
    at = tuple(round((1_800_000_000.0 + second) * 1e9) for second in (0.5, 1.0))
    edit_review(path, {}, {}, clips=[Clip("a", (0.5, 1.0), at, "grasp")])  # type: ignore[arg-type]
    assert convert(rec, out, "--clips") == 0
    np.testing.assert_allclose([row["action"][0] for row in rows(out)], 0.1 + np.arange(10, 20), atol=1e-5)
    (entry,) = described(out)["episodes"]
    assert (entry["clip"]["label"], entry["frames"]) == ("grasp", 10)


def one(folder: Path, periods: int, spoiled: dict[str, Any], at: int, commanded: bool = True) -> None:
    """An episode with something else in its observation at one time."""
    recorder = Recorder(folder, {})
    begin(recorder, 1 + len([*folder.glob("*.mcap")]))
    for number in range(periods):
        sample(recorder, number, **(spoiled if number == at else {}))
        if commanded:
            tick(recorder, number, {"target_pose": POSE, "target_grip": np.array([0.0])})
    recorder.ended(Outcome(True))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda rec: one(rec, 30, {"grip": np.array([np.nan])}, 29), "grip of "),
        (lambda rec: one(rec, 30, {"grip": np.array([40.0])}, 20), "gripper closure goes from 0 (open) to 1 (closed)"),
        (lambda rec: one(rec, 30, {"robot_state.q": np.zeros(6)}, 20), "robot_state.q has 7 numbers, and later 6"),
        (lambda rec: one(rec, 1, {}, 0, commanded=False), "says nothing of what the robot played"),
        (lambda rec: one(rec, 0, {}, 0), "has no command: it says nothing"),
        (lambda rec: recorded(rec, 20, names=("target_joints", "target_grip")), "has no target_pose, which"),
        (lambda rec: recorded(rec, 20, rung=lambda number: "hold"), "nothing was commanded"),
        (lambda rec: (rec / "cut.mcap").write_bytes(b"\x89MCAP0\r\n"), "cut.mcap is left out: "),
    ],
)
def test_an_episode_that_cannot_be_taken_leaves_nothing_in_the_next(
    spoil: Any, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    rec.mkdir()
    spoil(rec)
    whole = recorded(rec, 12)
    assert convert(rec, out, "--json") == 1
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert (found["written"], found["frames"], len(found["failures"])) == ([whole.stem], 12, 1)
    assert says in shown.err.replace("\n ", "")
    assert says.removeprefix("cut.mcap is left out: ") in next(iter(found["failures"].values()))
    assert len(rows(out)) == 12
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "rec"]


def test_what_is_said_of_an_episode_and_is_no_json_costs_that_episode_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    rec.mkdir()
    bad, good = recorded(rec, 12), recorded(rec, 12)
    episodes = Recordings.episodes

    def spoiled(source: Recordings) -> Any:
        found = episodes(source)
        for each in found:
            if bad.stem in each.name:
                each.origin = {**each.origin, "score": float("nan")}  # type: ignore[misc]
        return found

    monkeypatch.setattr(Recordings, "episodes", spoiled)
    assert convert(rec, out, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["written"] == [good.stem]
    assert "cannot be written into a data set" in next(iter(found["failures"].values()))


def test_a_record_that_nobody_can_read_is_no_data_set_of_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    rec.mkdir()
    recorded(rec, 12)
    (out / "meta").mkdir(parents=True)
    (out / "meta" / "offboard.json").write_text("[" * 100_000)
    assert convert(rec, out) == 1
    assert "no data set that `offboard convert` wrote" in said(capsys)


def test_a_camera_that_is_missing_is_named_with_those_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    recorded(rec)
    real = rows_form.LetterboxImage
    monkeypatch.setattr(rows_form, "LetterboxImage", lambda **k: real(**{**k, "source": "image.front"}))
    assert convert(rec, out) == 1
    shown = said(capsys)
    assert "has no image.front, which rows.commanded is trained on" in shown
    assert "its cameras: image.exterior, image.wrist (--codec.map gives one another name)" in shown
    assert not out.exists()


def test_ctrl_c_keeps_whole_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    recorded(rec), recorded(rec, 15)
    add, calls = rows_form.Rows.add, list[int]()

    def interrupted(self: Any, row: Any, task: str) -> None:
        calls.append(1)
        if len(calls) == 30:
            raise KeyboardInterrupt
        add(self, row, task)

    monkeypatch.setattr(rows_form.Rows, "add", interrupted)
    assert convert(rec, out) == 130
    shown = capsys.readouterr()
    assert "1 episode written" in shown.out
    assert "the same command goes on from here" in shown.err
    assert len(rows(out)) == 20
    assert convert(rec, out) == 0
    assert [row["episode"] for row in rows(out)] == [0] * 20 + [1] * 15
    calls[:] = [1] * 20  # before the first is whole, nothing is there
    assert convert(rec, tmp_path / "none") == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "rec"]


def test_an_episode_that_is_saved_when_ctrl_c_comes_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    recorded(rec), recorded(rec, 15)
    save = rows_form.Rows.save_episode

    def interrupted(self: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        save(self)

    monkeypatch.setattr(rows_form.Rows, "save_episode", interrupted)
    assert convert(rec, out, "--json") == 130
    said = json.loads(capsys.readouterr().out)
    assert (len(said["written"]), said["frames"], said["interrupted"]) == (1, 20, True)
    assert len(rows(out)) == 20


def test_a_full_disk_is_one_error_and_what_was_there_is_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    recorded(rec)
    assert convert(rec, out) == 0
    before = files(out)
    recorded(rec, 12), recorded(rec, 13, task="fill the disk")
    capsys.readouterr()
    assert convert(rec, out) == 1
    shown = capsys.readouterr()
    assert f"{out} cannot be written: No space left on device; it is as it was" in shown.err.replace("\n ", "")
    assert shown.out == ""
    assert files(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "rec"]


def test_a_disk_that_is_full_at_the_end_leaves_nothing_half_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rows_form.Rows, "finish", full)
    recorded(tmp_path / "rec", 5)
    assert convert(tmp_path / "rec", tmp_path / "out") == 1
    assert "cannot be written: No space left on device; it is as it was" in said(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["rec"]


def test_one_instruction_for_all(tmp_path: Path) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    recorded(rec, 10), recorded(rec, 10, task="other")
    assert convert(rec, out, "--task", "wave") == 0
    assert {row["task"] for row in rows(out)} == {"wave"}
    assert [entry["tasks"] for entry in described(out)["episodes"]] == [["wave"]] * 2


def test_a_codec_that_serves_nothing_without_an_instruction_is_trained_on_none_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Needs(TaskText):
        @property
        def meta(self) -> CodecMeta:
            return CodecMeta(observation={"task": Field(shape=(), dtype="str", required=True)})

    monkeypatch.setattr(rows_form, "TaskText", Needs)
    rec = tmp_path / "rec"
    recorded(rec, 5, task="")
    assert convert(rec, tmp_path / "out") == 1
    assert "has no instruction, and rows.commanded serves none without: --task gives it one" in said(capsys)
    assert convert(rec, tmp_path / "out", "--task", "wave") == 0


@pytest.mark.parametrize(
    ("makes", "says"),
    [
        ([0.0] * 7, "the codec makes action (7,) of"),
        ([np.inf] + [0.0] * 7, "is not finite"),
    ],
)
def test_no_row_is_written_that_is_not_what_the_codec_says(
    makes: list[float], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_form.ActionSplit, "label", lambda self, frame: {"action": np.array(makes)})
    recorded(tmp_path / "rec", 5)
    assert convert(tmp_path / "rec", tmp_path / "out") == 1
    assert says in said(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["rec"]


def test_what_only_a_simulation_knows_is_no_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"sim.objects.red_cube": 7, "grip": 1}
    monkeypatch.setattr(rows_form, "_codec", lambda split: timed(StateVector(name="state", parts=parts) & split, 20.0))
    recorded(tmp_path / "rec", **{"sim.objects.red_cube": POSE})
    assert convert(tmp_path / "rec", tmp_path / "out") == 1
    assert "would be trained on sim.objects.red_cube, which only a simulation knows" in said(capsys)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([], 2, "say which recordings"),
        (["--outcome", "success", "rec"], 2, "say which recordings before --outcome"),
        (["rec"], 2, "say through which codec: --codec VENDOR.NAME"),
        (["rec", "--codec", "rows.commanded"], 2, "say where the data set is to be: --output-dir DIR"),
        (["rec", "--codec", "rows.command", "--output-dir", "out"], 1, "did you mean rows.commanded"),
        (["rec", "--codec", "native", "--output-dir", "out"], 1, "core.native is for serving only"),
        (["rec", "--codec", "rows.driven", "--output-dir", "out", "--form", "cols"], 1, "form of data sets"),
        (
            ["rec", "--codec", "rows.driven", "--codec.x", "1", "--output-dir", "out"],
            1,
            "there is no option 'x' of the codec rows.driven",
        ),
        (["nowhere", "--codec", "rows.driven", "--output-dir", "out"], 1, "neither a folder of recordings nor one"),
        (["empty", "--codec", "rows.driven", "--output-dir", "out"], 1, "has no recording"),
    ],
)
def test_what_makes_no_sense_is_told_with_what_does(
    arguments: list[str], status: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    recorded(tmp_path / "rec", 3)
    assert cli.main(["convert", *arguments]) == status
    assert says in said(capsys)
    assert not (tmp_path / "out").exists()
