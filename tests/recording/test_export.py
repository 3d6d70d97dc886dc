"""``offboard export``: recordings as tables, as videos, for Rerun."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from filmed import begin, picture, record, sample, tick
from offboard_client import cli
from offboard_client.evaluation import Clip, edit_review
from offboard_client.play import Outcome
from offboard_client.recording import Episode, Recorder, finish, glance, is_finished, write_csv, write_mp4
from waits import PATIENCE


def export(folder: Path, form: str, *more: str) -> int:
    return cli.main(["export", str(folder), "--to", form, *more])


def test_a_table_has_a_line_for_each_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder(tmp_path, {})
    begin(recorder)
    sample(recorder, 0)
    tick(recorder, 0, {"target_grip": np.array([1 / 3])})
    tick(recorder, 1, {}, rung="hold", row=3)
    sample(recorder, 2)
    tick(recorder, 2, {"target_grip": np.array([0.5])})
    recorder.ended(Outcome(True))
    assert export(tmp_path, "csv", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    (path,) = said["written"]
    assert Path(path).parent == tmp_path / "csv"
    with open(path, encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["rung"] for line in lines] == ["playing", "hold", "playing"]
    assert [float(line["seconds"]) for line in lines] == pytest.approx([0.0, 0.05, 0.1])
    assert [line["action.target_grip"] for line in lines] == [repr(1 / 3), "", "0.5"]
    assert [line["row"] for line in lines] == ["0", "3", "0"]
    assert [np.float32(line["observation.robot_state.q.6"]) for line in lines] == [0, 0, np.float32(2 / 7)]
    assert lines[0]["observation.task"] == "stack"
    assert float(lines[0]["time"]) == pytest.approx(1_800_000_000.001)


def test_a_spreadsheet_takes_no_text_of_a_recording_for_a_formula(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {})
    begin(recorder)
    sample(recorder, 0, task="=cmd|' /C calc'!A0", **{"=HYPERLINK(1)": np.array([-0.5])})
    tick(recorder, 0, {"@x": np.array([-1.5])}, rung="+1")
    recorder.ended(Outcome(True))
    assert export(tmp_path, "csv") == 0
    (path,) = (tmp_path / "csv").iterdir()
    with path.open(encoding="utf-8", newline="") as file:
        head, line = csv.reader(file)
    found = dict(zip(head, line, strict=True))
    assert (found["observation.task"], found["rung"]) == ("'=cmd|' /C calc'!A0", "'+1")
    assert (found["observation.=HYPERLINK(1)"], found["action.@x"]) == ("-0.5", "-1.5")
    texts = [name for name in (*head, *line) if not name.replace("-", "", 1).replace(".", "", 1).isdigit()]
    assert not [text for text in texts if text.startswith(("=", "+", "-", "@"))]


def test_a_path_may_be_a_text(tmp_path: Path) -> None:
    path = str(record(tmp_path, periods=4))
    assert is_finished(path)
    assert not finish(path)
    assert glance(path).end > 0
    with Episode(path) as episode:
        assert episode.path == Path(path)
        assert write_csv(episode, str(tmp_path / "a.csv")) == 4
        assert write_mp4(episode, "/video/wrist", str(tmp_path / "a.mp4")) == 4


def test_a_video_has_the_frames_as_they_are_at_their_times(tmp_path: Path) -> None:
    path = record(tmp_path, periods=40)
    assert export(path, "mp4") == 0
    made = tmp_path / "mp4" / f"{path.stem}-wrist.mp4"
    assert not [each for each in made.parent.iterdir() if each != made]
    with av.open(str(made)) as video, Episode(path) as episode:
        stream = video.streams.video[0]
        frames = [
            (float(frame.pts * stream.time_base), frame.to_ndarray(format="rgb24")) for frame in video.decode(stream)
        ]
        times = [(said.at - episode.start) / 1e9 for said in episode.messages(["/video/wrist"])]
    assert len(frames) == 40
    assert np.diff([at for at, _ in frames]) == pytest.approx(np.diff(times), abs=2e-5)
    for number in (0, 17, 39):
        assert np.abs(frames[number][1].astype(int) - picture(number)).mean() < 12
    with av.open(str(made)) as video:  # remuxed: the packets are those of the recording, but for how they are framed
        sizes = [packet.size for packet in video.demux(video.streams.video[0]) if packet.size]
    with Episode(path) as episode:
        recorded = [len(said.message.data) for said in episode.messages(["/video/wrist"])]
    assert len(sizes) == len(recorded)
    assert all(abs(one - other) < 100 for one, other in zip(sizes, recorded, strict=True))


def at(path: Path, seconds: float) -> int:
    """The time of an episode's second, as messages have it."""
    with Episode(path) as episode:
        return episode.start + round(seconds * 1e9)


def cut(path: Path, *ranges: tuple[float, float]) -> None:
    """Clips of these seconds; what they are called is no name of a file."""
    clips = [Clip(f"../{first}", (first, last), (at(path, first), at(path, last))) for first, last in ranges]
    edit_review(path, {}, {}, clips=clips)


def test_ranges_become_tables_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = record(tmp_path, periods=40)
    record(tmp_path)
    assert export(tmp_path, "csv", "--clips") == 1
    assert "has a clip: `offboard replay" in capsys.readouterr().err.replace("\n ", "")
    cut(path, (0.5, 1.0), (1.0, 1.5))
    assert export(tmp_path, "csv", "--clips") == 0
    assert "2 files of 2 ranges" in capsys.readouterr().out
    made = sorted(each.name for each in (tmp_path / "csv").iterdir())
    assert made == [f"{path.stem}_0.500-1.000s.csv", f"{path.stem}_1.000-1.500s.csv"]
    assert export(path, "csv") == 0
    whole, *parts = ((tmp_path / "csv" / name).read_text("utf-8").splitlines() for name in (f"{path.stem}.csv", *made))
    assert [part[0] for part in parts] == [whole[0]] * 2
    assert [part[1:] for part in parts] == [whole[11:21], whole[21:31]]  # what was measured before is known in it


def test_a_range_of_a_video_is_shown_from_its_beginning(tmp_path: Path) -> None:
    path = record(tmp_path, periods=80)
    cut(path, (2.49, 3.01), (0.0, 0.2))
    assert export(path, "mp4", "--clips") == 0
    for (first, last), count in (((2.49, 3.01), 11), ((0.0, 0.2), 4)):
        with av.open(str(tmp_path / "mp4" / f"{path.stem}_{first:.3f}-{last:.3f}s-wrist.mp4")) as video:
            stream = video.streams.video[0]
            shown = [
                (float(each.pts * stream.time_base), each.to_ndarray(format="rgb24")) for each in video.decode(stream)
            ]
        assert [seconds for seconds, _ in shown] == pytest.approx([number * 0.05 for number in range(count)], abs=0.001)
        assert np.abs(shown[0][1].astype(int) - picture(round(first / 0.05 + 0.4))).mean() < 12


def test_rerun_takes_no_range(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(tmp_path, "rerun", "--clips") == 2
    assert "--clips is not for --to rerun" in capsys.readouterr().err


def test_nothing_is_written_over_and_the_rest_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = record(tmp_path / "in"), record(tmp_path / "in")
    (tmp_path / "in" / "cut.mcap").write_bytes(first.read_bytes()[:50])
    out = tmp_path / "out"
    out.mkdir()
    (out / f"{first.stem}.csv").write_text("mine")
    assert export(tmp_path / "in", "csv", f"--output-dir={out}") == 1
    said = capsys.readouterr()
    assert (out / f"{first.stem}.csv").read_text() == "mine"
    assert sorted(path.name for path in out.iterdir()) == sorted([f"{first.stem}.csv", f"{second.stem}.csv"])
    assert "cut.mcap is left out" in said.err
    assert "1 file of 3 recordings" in said.out
    assert "1 file was there already and is as before" in said.out
    assert export(tmp_path / "in", "csv", f"--output-dir={out}") == 1
    assert "2 files were there already and are as before" in capsys.readouterr().out


def test_ctrl_c_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import offboard_client.recording as room

    record(tmp_path), record(tmp_path)
    calls, write = list[Path](), room.write_csv

    def interrupted(episode: Any, path: Path, *more: Any) -> int:
        calls.append(path)
        count = write(episode, path, *more)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return count

    monkeypatch.setattr(room, "write_csv", interrupted)
    assert export(tmp_path, "csv") == 130
    said = capsys.readouterr()
    assert len(list((tmp_path / "csv").iterdir())) == 1
    assert "1 file of 2 recordings written" in said.out
    assert "the same command goes on" in said.err
    assert export(tmp_path, "csv") == 0
    assert len(list((tmp_path / "csv").iterdir())) == 2


def test_rerun_is_asked_or_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "in")
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr("sys.executable", str(programs / "python"))
    assert export(tmp_path / "in", "rerun") == 1
    assert "pip install 'rerun-sdk>=0.28'" in capsys.readouterr().err.replace("\n ", "")
    rerun = programs / "rerun"
    rerun.write_text('#!/bin/sh\necho "$@" > "$5.said"; test "$1 $2 $4" = "mcap convert -o" && : > "$5"\n')
    rerun.chmod(0o755)
    assert export(tmp_path / "in", "rerun", f"--output-dir={tmp_path / 'out'}") == 0
    assert len([path for path in (tmp_path / "out").iterdir() if path.suffix == ".rrd"]) == 1
    rerun.write_text("#!/bin/sh\necho no such command >&2; exit 3\n")
    assert export(tmp_path / "in", "rerun", f"--output-dir={tmp_path / 'other'}") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "failed with status 3" in said
    assert "no such command" in said
    assert not os.listdir(tmp_path / "other")


@pytest.fixture
def rerun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A converter that writes what it was given, for a test to write anew."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("sys.executable", str(programs / "python"))
    found = programs / "rerun"
    found.write_text('#!/bin/sh\ncp "$3" "$5"\n')
    found.chmod(0o755)
    return found


@pytest.mark.usefixtures("rerun")
@pytest.mark.parametrize("finished", [True, False])
def test_rerun_is_given_no_damaged_recording(
    finished: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It leaves a damaged block out, and ends with 0."""
    monkeypatch.setattr("offboard_client.recording.file._EVERY", 0.0)  # as many blocks as messages
    good, bad = record(tmp_path / "in"), record(tmp_path / "in")
    data = bytearray(bad.read_bytes())
    with Episode(bad) as episode:
        block = episode.blocks(["/played"])[5]
    data[block.offset + block.length // 2] ^= 1
    bad.write_bytes(data if finished else data[:-50])
    assert is_finished(bad) == finished
    assert export(tmp_path / "in", "rerun") == 1
    said = capsys.readouterr()
    assert "1 file of 2 recordings written" in said.out
    found = " ".join(said.err.split())
    assert f"{bad.name} is left out: {bad.name} is damaged: at byte {block.offset}: " in found
    assert os.listdir(tmp_path / "in" / "rerun") == [f"{good.stem}.rrd"]


def test_what_rerun_logs_as_an_error_is_one_whatever_its_status(
    rerun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rerun.write_text('#!/bin/sh\necho "[2026-11-27T20:00:00Z ERROR re_mcap] lost" >&2; seq 1000; cp "$3" "$5"\n')
    record(tmp_path / "in")
    assert export(tmp_path / "in", "rerun") == 1
    assert "has left something out. It said: [2026-11-27T20:00:00Z ERROR re_mcap] lost" in " ".join(
        capsys.readouterr().err.split()
    )
    assert not os.listdir(tmp_path / "in" / "rerun")


def test_a_converter_that_has_no_end_is_ended_and_the_wait_says_how_long(
    rerun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("offboard_client.cli.export_files._PATIENCE", 0.3)
    monkeypatch.setattr("offboard_client.cli.export_files._LOOK", 0.05)
    shown: list[str] = []
    monkeypatch.setattr("offboard_client.terminal.Line.show", lambda line, text, *more: shown.append(text))
    rerun.write_text("#!/bin/sh\necho $$ > $0.pid; while :; do echo again; done\n")
    path = record(tmp_path / "in")
    assert export(tmp_path / "in", "rerun") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "Rerun's converter was not done with" in said
    assert "It said: again" in said
    assert any(text.startswith(f"Rerun's converter reads {path.name}: ") for text in shown)
    assert not os.listdir(tmp_path / "in" / "rerun")
    assert not Path("/proc", rerun.with_suffix(".pid").read_text().strip()).exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "say which recordings"),
        (("x",), "--to csv, --to mp4, --to rerun"),
        (("nowhere", "--to", "csv"), "nowhere is neither a folder"),
        ((".", "--to", "csv"), "has no recording"),
    ],
)
def test_what_cannot_be_exported_is_said(
    arguments: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", *arguments]) in (1, 2)
    assert says in capsys.readouterr().err.replace("\n ", "")


def test_an_episode_without_a_camera_has_no_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder(tmp_path, {}, video=False)
    begin(recorder)
    sample(recorder, 0, asked=True)
    recorder.ended(Outcome(True))
    assert export(tmp_path, "mp4") == 1
    assert "has no video" in capsys.readouterr().err


#: What Rerun's own server reads of a file, of one entity each: how often each of its components is there.
LOADED = """
import json, sys
from rerun.server import Server

with Server(datasets={"one": [sys.argv[1]]}) as server:
    found, data = {}, server.client().get_dataset("one")
    for entity in ("/video/wrist", "/sent/wrist", "/pose/target_pose", "/played", "/action/target_grip"):
        table = data.filter_contents([entity]).reader(index="message_log_time").to_arrow_table()
        columns = [name for name in table.column_names if name.startswith(entity + ":") and ":Mcap" not in name]
        found[entity] = {name.split(":", 1)[1]: len(table[name].drop_null()) for name in columns}
    print(json.dumps(found))
"""


@pytest.mark.slow
def test_what_is_exported_for_rerun_is_what_rerun_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a release that knows Foxglove's schemas: LeRobot asks for an older one."""
    path = record(tmp_path / "in", periods=60)
    uv, cache = shutil.which("uv"), subprocess.run(["uv", "cache", "dir"], check=True, capture_output=True, text=True)
    assert uv is not None
    fresh = [uv, "run", "-q", "--no-project", "--isolated", "--with", "rerun-sdk[catalog]>=0.28"]
    rerun = tmp_path / "bin" / "rerun"
    rerun.parent.mkdir()
    rerun.write_text(f'#!/bin/sh\nexec {shlex.join(fresh)} rerun "$@"\n')
    rerun.chmod(0o755)
    monkeypatch.setenv("UV_CACHE_DIR", cache.stdout.strip())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{rerun.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("sys.executable", str(rerun.parent / "python"))
    assert export(path, "rerun") == 0
    made = tmp_path / "in" / "rerun" / f"{path.stem}.rrd"
    subprocess.run([rerun, "rrd", "verify", made], check=True, timeout=5 * PATIENCE)
    script = tmp_path / "loaded.py"
    script.write_text(LOADED)
    done = subprocess.run(
        [*fresh, "python", script, made], check=True, timeout=5 * PATIENCE, capture_output=True, text=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["/video/wrist"]["VideoStream:sample"] == 60
    assert found["/sent/wrist"]["EncodedImage:blob"] == 15
    assert found["/pose/target_pose"]["InstancePoses3D:quaternions"] == 60
    assert found["/played"]["offboard.Played:message"] == found["/action/target_grip"]["offboard.Values:message"] == 60
