"""``offboard export --to positronic``: a data set of Positronic's own."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from filmed import WALL, begin, picture, sample, tick
from offboard_client import cli
from offboard_client.evaluation import Clip, edit_review
from offboard_client.exports import SteadyOptions, layout_of
from offboard_client.play import Outcome
from offboard_client.recording import Episode, Recorder, RecordingFile, Topics, own

pytest.importorskip("pyarrow", reason="needs the extra positronic")
import pyarrow.parquet as pq

POSE = np.array([0.1, 0.2, 0.3, 1.0, 0.0, 0.0, 0.0])
START = round(WALL * 1e9)
PERIOD = 50_000_000
#: What its reader of data sets needs of Positronic's 85 packages.
READER = ["numpy", "pyarrow", "av", "pos3", "pyyaml", "configuronic", "coloredlogs"]


def recorded(folder: Path, periods: int = 40, video: bool = True) -> Path:
    """An episode of 20 Hz; a person leads from the eighth command on, and the tenth is a hold."""
    recorder = Recorder(folder, {"command": "offboard run test"}, video=video)
    begin(recorder, 1 + len([*folder.glob("*.mcap")]))
    for number in range(periods):
        sample(recorder, number, asked=not video)
        action = {"target_pose": POSE + number * np.eye(7)[0], "target_grip": np.array([number / 10])}
        tick(recorder, number, {} if number == 10 else action, rung="led" if number >= 8 else "playing")
    recorder.ended(Outcome(True))
    return recorder.recorded.files[0]


def export(folder: Path, out: Path, *more: str) -> int:
    return cli.main(["export", str(folder), "--to", "positronic", "--output-dir", str(out), *more])


def signal(episode: Path, name: str) -> tuple[list[int], list[Any]]:
    table = pq.read_table(episode / f"{name}.parquet")
    return table["timestamp"].to_pylist(), table["value"].to_pylist()


def test_every_signal_is_there_at_its_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    path = recorded(rec)
    edit_review(path, {"outcome": "fail", "items": 1, "items_total": 3, "note": "slipped"}, {"outcome": None})
    assert export(rec, out) == 0
    assert "40 frames, 32 of them led by a person" in capsys.readouterr().out
    episode = out / "000000000000" / "000000000000"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out", "rec"]
    assert sorted(each.name for each in episode.iterdir()) == [
        "grip.parquet", "image.wrist.frames.parquet", "image.wrist.mp4", "meta.json", "offboard.intervention.parquet",
        "robot_command.pose.parquet", "robot_state.ee_pose.parquet", "robot_state.q.parquet", "static.json",
        "target_grip.parquet",
    ]  # fmt: skip
    times, values = signal(episode, "robot_state.q")
    assert times == [START + PERIOD * number for number in range(40)]
    assert [value[3] for value in values] == [float(np.float32(number / 7)) for number in range(40)]
    assert signal(episode, "grip")[1] == [0.25] * 40
    times, values = signal(episode, "robot_command.pose")
    assert times == [START + PERIOD * number for number in range(40) if number != 10]  # a hold commands nothing
    assert [value[0] for value in values] == pytest.approx([0.1 + number for number in range(40) if number != 10])
    assert signal(episode, "offboard.intervention")[1] == [int(number >= 8) for number in range(40)]
    static = json.loads((episode / "static.json").read_text())
    assert static["task"] == "stack"
    assert (static["eval.outcome"], static["eval.notes"]) == ("Fail", "slipped")
    assert (static["eval.successful_items"], static["eval.total_items"]) == (1, 3)
    assert static["eval.success"] is True  # what the robot's own task said
    meta = json.loads((episode / "meta.json").read_text())
    assert (meta["schema_version"], meta["created_ts_ns"]) == (1, START)
    assert pq.read_table(episode / "image.wrist.frames.parquet")["ts_ns"].to_pylist() == [
        START + PERIOD * number for number in range(40)
    ]
    with av.open(str(episode / "image.wrist.mp4")) as video:
        stream = video.streams.video[0]
        assert stream.average_rate == 100
        frames = [(frame.pts * stream.time_base, frame.to_ndarray(format="rgb24")) for frame in video.decode(stream)]
    assert [float(at) for at, _ in frames] == pytest.approx([number / 100 for number in range(40)])
    for number in (0, 17, 39):
        assert np.abs(frames[number][1].astype(int) - picture(number)).mean() < 12


def test_the_same_command_goes_on_and_nothing_is_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    recorded(rec, 12)
    assert export(rec, out) == 0
    recorded(rec, 12)
    (rec / "cut.mcap").write_bytes(b"\x89MCAP0\r\n")
    assert export(rec, out) == 1
    said = capsys.readouterr()
    assert "1 attempt was there already" in said.out
    assert "cut.mcap is left out" in said.err
    assert sorted(path.name for path in (out / "000000000000").iterdir()) == ["000000000000", "000000000001"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    assert export(rec, tmp_path / "mine") == 1
    assert "no data set of Positronic's: nothing is written over" in capsys.readouterr().err.replace("\n ", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out", "rec"]


def test_a_range_begins_where_it_was_cut(tmp_path: Path) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    path = recorded(rec, 80)
    at = (START + PERIOD * 40, START + PERIOD * 60)
    edit_review(path, {}, {}, clips=[Clip("a", (2.0, 3.0), at)])
    assert export(rec, out, "--clips") == 0
    episode = out / "000000000000" / "000000000000"
    times, values = signal(episode, "robot_command.pose")
    assert times == [START + PERIOD * number for number in range(40, 60)]
    assert values[0][0] == pytest.approx(40.1)
    shown = pq.read_table(episode / "image.wrist.frames.parquet")["ts_ns"].to_pylist()
    # From the last frame on that a player can start with.
    assert shown == [START + PERIOD * number for number in range(30, 60)]


def test_frames_that_were_sent_become_a_video_where_there_is_none(tmp_path: Path) -> None:
    rec, out = tmp_path / "rec", tmp_path / "out"
    recorded(rec, 12, video=False)
    assert export(rec, out) == 0
    with av.open(str(out / "000000000000" / "000000000000" / "image.wrist.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) == 12
    assert np.abs(frames[7].astype(int) - picture(7)).mean() < 12


@pytest.mark.slow
def test_positronics_own_reader_reads_it(tmp_path: Path) -> None:
    """Version 0.4.1, in an environment of its own."""
    uv = shutil.which("uv")
    assert uv is not None, "this makes an environment for Positronic's reader with uv: pip install uv"
    python = str(tmp_path / "env" / "bin" / "python")
    for command in (
        [uv, "venv", "-q", "-p", "3.11", str(tmp_path / "env")],
        [uv, "pip", "install", "-q", "--python", python, "--no-deps", "positronic==0.4.1",
         "positronic-eval-vocabulary==0.6.0"],
        [uv, "pip", "install", "-q", "--python", python, *READER],
    ):  # fmt: skip
        subprocess.run(command, check=True, timeout=600, cwd=tmp_path)
    rec, out = tmp_path / "rec", tmp_path / "out"
    recorded(rec), recorded(rec, 60)
    assert export(rec, out) == 0
    program = Path(__file__).with_name("read_positronic.py")
    said = subprocess.run(
        [python, str(program), str(out), "[0.0, 0.02, 1.0, 1.93]"],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    first, second = json.loads(said.stdout)
    assert (first["sizes"]["robot_state.q"], second["sizes"]["image.wrist"]) == (40, 60)
    assert first["seconds"] == pytest.approx(39 * 0.05)
    assert first["static"]["task"] == "stack"
    for seconds, number in (("0.0", 0), ("0.02", 0), ("1.0", 20), ("1.93", 38)):  # what was known last
        found = first["at"][seconds]
        assert found["robot_state.q"][0] == pytest.approx(number / 7)
        assert found["robot_command.pose"][0] == pytest.approx(0.1 + number)
        assert found["image.wrist"][:3] == [48, 64, 3]
        assert found["image.wrist"][-1] == pytest.approx(picture(number).mean(), abs=4)


def _odd(path: Path, what: str) -> None:
    """A recording with its index, of what no recorder writes."""
    file = RecordingFile(path)
    robot = ["no map"] if what == "robot" else {"measures": {"grip": 7}}
    file.describe("offboard.episode", {"version": 1, "wall_time": WALL, "run": {"robot": robot}})
    name = "n" * 300 if what == "name" else "grip"
    for number in range(4):
        at = START + number * PERIOD
        seconds = {"nan": float("nan"), "long": 1e300}.get(what, number * 0.05)
        values = [] if what == "none" else [1.0]
        said = {
            "name": name,
            "dtype": "nonsense" if what == "dtype" else "<f8",
            "shape": "x" if what == "shape" else "",
        }
        file.write("/observed", own("Observed"), at, seconds=seconds, sent=True)
        file.write("/observation/grip", own("Values"), at, said, values=values)
        file.write("/action/target_grip", own("Values"), at, said | {"name": "target_grip"}, values=[0.5])
        if what == "picture":
            Topics(file).still("image.wrist", picture(0), at)
            file._waiting["foxglove.CompressedImage"][-1] = (file._channels["/sent/wrist"][0], at, b"\x1a\x02no")
        file.write("/played", own("Played"), at, seconds=number * 0.05, duration=0.05, rung="playing")
    file.describe("offboard.outcome", {"success": True})
    file.finish()


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("nan", "is damaged: /observed is of second nan"), ("long", "is damaged: /observed is of second 1e"),
        ("none", "is damaged: grip has no numbers"), ("dtype", "has numbers of 'nonsense'"),
        ("shape", "has the shape"), ("name", "is longer than a file's name may be"),
        ("picture", "image.wrist cannot be decoded"),
    ],
)  # fmt: skip
def test_what_no_recorder_writes_is_left_out_by_name_and_the_others_are_written(
    what: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rec = tmp_path / "rec"
    recorded(rec)
    _odd(rec / "0.mcap", what)
    assert export(rec, tmp_path / "out") == 1
    said = capsys.readouterr()
    assert "1 attempt of " in said.out
    assert "0.mcap is left out" in said.err
    assert says in said.err.replace("\n", " ")


def test_what_a_robot_says_of_its_channels_may_be_anything(tmp_path: Path) -> None:
    (tmp_path / "rec").mkdir()
    for what in ("robot", "channel"):
        _odd(tmp_path / "rec" / f"{what}.mcap", what)
        with Episode(tmp_path / "rec" / f"{what}.mcap") as episode:
            assert [each.name for each in layout_of(episode, SteadyOptions(fps=20)).state] == ["grip"]
