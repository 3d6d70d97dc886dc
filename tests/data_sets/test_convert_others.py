"""``offboard convert`` of what others recorded: LeRobot's data sets and Positronic's, with the flags of either."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import rows_form
from offboard_client import cli

pytest.importorskip("pyarrow", reason="needs the extra convert")
import pyarrow.parquet as pq
from offboard_core.plugins import Plugins
from others_sets import lerobot_set, positronic_episode, row, write_rows
from rows_form import rows


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = Plugins.of(rows=rows_form.Plugin)
    monkeypatch.setattr("offboard_core.cli.convert.Plugins.discover", lambda: plugins)


def convert(source: Path | str, out: Path, *more: str) -> int:
    return cli.main(["convert", str(source), "--codec", "rows.commanded", "--output-dir", str(out), *more])


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.replace("\n ", "")


@pytest.mark.parametrize("form", ["v2.1", "v3.0"])
def test_a_data_set_of_lerobots_becomes_rows_and_the_same_command_goes_on(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = lerobot_set(tmp_path / "cubes", form, (12, 0, 7), fps=20), tmp_path / "out"
    assert convert(folder, out) == 1
    shown = capsys.readouterr()
    assert f"2 episodes written into {out} through rows.commanded: 19 frames, 9 of them led by a person" in shown.out
    assert "cubes, episode 1 is left out: cubes, episode 1 has no length" in shown.err.replace("\n ", "")
    found = rows(out)
    for number, (episode, place) in ((0, (0, 0)), (11, (0, 11)), (12, (2, 0)), (18, (2, 6))):
        given = row(episode, place)
        np.testing.assert_allclose(found[number]["action"], given["action"], atol=1e-6)
        np.testing.assert_allclose(found[number]["state"], [*given["observation.state"][8:], place / 100], atol=1e-6)
        assert found[number]["task"] == f"task {episode}"
        assert found[number]["front"] == pytest.approx((20 + 4 * (10 * episode + place)) * 10 / 12, abs=3)
    record = json.loads((out / "meta" / "offboard.json").read_text())
    assert [(each["form"], each["episode"], each["frames"]) for each in record["episodes"]] == [
        (f"lerobot {form}", 0, 12), (f"lerobot {form}", 2, 7)
    ]  # fmt: skip
    # What was moved since is there already.
    assert convert(folder.rename(tmp_path / "elsewhere"), out) == 1
    assert "2 episodes were there already" in capsys.readouterr().out
    assert rows(out) == found


def test_positronics_flags_are_taken_as_they_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, outcome in enumerate(("Success", "Fail")):
        positronic_episode(tmp_path / "set", number, {"eval.outcome": outcome, "eval.notes": f"no. {number}"})
    out = tmp_path / "out"
    theirs = [
        "--dataset.dataset=.local",
        f"--dataset.dataset.path={tmp_path / 'set'}",
        f"--output_dir={out}",
        "--fps=20",
    ]
    codec = ["--dataset.codec=@positronic.vendors.rows.codecs.commanded", "--task=None"]
    assert cli.main(["convert", "convert", *theirs, *codec, "--outcome", "success"]) == 0
    assert "1 episode written" in capsys.readouterr().out
    assert cli.main(["convert", "append", *theirs, *codec]) == 0
    shown = capsys.readouterr().out
    assert "1 episode written" in shown
    assert "1 episode was there already" in shown
    found = rows(out)
    assert len(found) == 80
    assert {each["task"] for each in found} == {"stack"}
    record = json.loads((out / "meta" / "offboard.json").read_text())
    assert [(each["outcome"], each["note"]) for each in record["episodes"]] == [("success", "no. 0"), ("fail", "no. 1")]
    assert convert(tmp_path / "set", tmp_path / "other", "--query", "note ~ 1") == 0
    assert "1 episode written" in capsys.readouterr().out


def test_a_person_says_which_columns_are_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features = {"action": {"dtype": "float32", "shape": [8], "names": ["actions"]}}
    folder, out = lerobot_set(tmp_path / "cubes", features=features), tmp_path / "out"
    assert convert(folder, out) == 1
    shown = said(capsys)
    assert "cubes, episode 0 has no target_grip, target_pose, which rows.commanded is trained on" in shown
    assert "say where it is: --map target_pose=action[0:7] --map target_grip=action[7] (if its numbers" in shown
    assert "; there are: observation.state (15: " in shown
    assert "It is so with each of 2 episodes" in shown
    assert not out.exists()
    mapped = ["--map", "target_pose=action[0:7]", "--map", "target_grip=action[7]"]
    assert convert(folder, out, *mapped) == 0
    np.testing.assert_allclose(rows(out)[-1]["action"][1:7], row(1, 6)["action"][1:7], atol=1e-6)


@pytest.mark.parametrize("form", ["v2.1", "v3.0", "positronic"])
def test_what_does_not_say_which_episode_it_is_is_known_by_its_numbers(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two data sets may have one name, and an episode may be in both."""
    for place, grip in (("a", 0.0), ("b", 0.5)):
        folder = tmp_path / place / "cubes"
        if form == "positronic":
            for number, seconds in ((0, 2.4), (1, 1.4 + grip)):
                (positronic_episode(folder, number, seconds=seconds) / "meta.json").unlink(missing_ok=True)
        else:
            lerobot_set(folder, form, (12, 7), fps=20)
            path = folder / "meta" / "episodes" / "chunk-000" / "file-000.parquet"
            if form == "v3.0":
                pq.write_table(pq.read_table(path).drop(["stats/action/mean", "stats/action/std"]), path)
            else:
                (folder / "meta" / "episodes_stats.jsonl").unlink()
            path = folder / "data" / "chunk-000" / ("file-000.parquet" if form == "v3.0" else "episode_000001.parquet")
            changed = pq.read_table(path).to_pylist()
            changed[-1]["action"][7] = grip
            write_rows(path, changed)
        assert convert(folder, tmp_path / "out") == 0
        assert "1 episode was there already" in capsys.readouterr().out or place == "a"
    assert len({each["episode"] for each in rows(tmp_path / "out")}) == 3


def test_an_episode_that_is_there_twice_is_taken_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in ("a", "b"):
        positronic_episode(tmp_path / "sets" / place, 0, uid="one")
    assert convert(tmp_path / "sets", tmp_path / "out") == 0
    shown = capsys.readouterr()
    assert "sets/b/000000000000/000000000000 is left out: it is sets/a/000000000000/000000000000 once more" in (
        shown.err.replace("\n ", "")
    )
    assert "1 episode left out: 1 that are others of these once more" in shown.out
    assert "there already" not in shown.out


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--map", "target_pose"], "--map target_pose cannot be understood"),
        (["--map", "grip=action[0]", "--map", "grip=action[1]"], "--map gives grip two columns"),
        (["--map", "grip=nothing"], "there is no column 'nothing' of cubes"),
        (["--clips"], "--clips takes what was cut out of recordings"),
        (["--outcome", "success"], "none of 2 episodes in .* came out success: there are none of which it says"),
        (["--dataset.dataset=.local"], "says no folder"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(more: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(lerobot_set(tmp_path / "cubes"), tmp_path / "out", *more) in (1, 2)
    assert re.search(says, said(capsys))
    assert not (tmp_path / "out").exists()


def test_recordings_have_no_columns_to_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows_form.recorded(tmp_path / "rec")
    assert convert(tmp_path / "rec", tmp_path / "out", "--map", "grip=action[7]") == 2
    assert "--map is for a data set" in said(capsys)


def test_a_data_set_of_a_lower_rate_is_one_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(lerobot_set(tmp_path / "cubes", fps=10), tmp_path / "out") == 1
    shown = said(capsys)
    assert (
        "cubes has 10 frames a second, and 20 are asked for: some would be taken twice; say --fps 10, or less" in shown
    )
    assert shown.count("10 frames a second") == 1, "and not one of each episode"
    assert not (tmp_path / "out").exists()


def test_nan_leaves_an_episode_out_and_the_others_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = lerobot_set(tmp_path / "cubes", "v2.1")
    path = folder / "data" / "chunk-000" / "episode_000000.parquet"
    damaged = pq.read_table(path).to_pylist()
    damaged[6]["observation.state"][7] = float("nan")
    write_rows(path, damaged)
    assert convert(folder, tmp_path / "out") == 1
    shown = capsys.readouterr()
    assert "1 episode written" in shown.out
    assert "cubes, episode 0 is left out: grip of cubes, episode 0 is [nan] at 0.200 s" in shown.err.replace("\n ", "")
    assert {each["task"] for each in rows(tmp_path / "out")} == {"task 1"}
