"""LeRobot's data sets in their form v2.1, read by what else there is: pyarrow, PyAV, JSON, and LeRobot 0.3.3 itself."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra convert")
pytest.importorskip("av", reason="needs the extra convert")
import av
import pyarrow.parquet as pq
from golden_codecs import observation, picture
from offboard_client.errors import ConfigurationError
from offboard_core.data_sets import DataSetForm, V21Writer
from offboard_core.plugins import CODEC, Plugins
from offboard_core.types import Checkpoint, Feature

STATE, GRIP, LEFT = "observation.state", "grip", "observation.images.left"
FEATURES = {
    STATE: Feature(shape=(3,), dtype="float32", names=("pose", "grip")),
    GRIP: Feature(shape=(1,), dtype="float32"),
    LEFT: Feature(shape=(32, 48, 3), dtype="video", names=("height", "width", "channel")),
}
#: What LeRobot's data sets need of its packages; PyTorch is that of the workspace, so it is here already.
READER = [
    "torch==2.10.0", "torchvision==0.25.0", "datasets==3.6.0", "numpy<2.3", "huggingface-hub==0.35.3", "av",
    "jsonlines", "draccus==0.10.0", "einops", "deepdiff", "imageio", "pyserial",
]  # fmt: skip


def form(features: dict[str, Any] = FEATURES, fps: float = 10.0) -> DataSetForm:
    return DataSetForm(codec="test.codec", features=features, fps=fps, target="set")


def row(number: int) -> dict[str, Any]:
    y, x = np.mgrid[0:32, 0:48]
    smooth = np.stack([2 * y + 3 * number, 2 * x, 2 * (x + y)], -1).astype(np.uint8)
    return {STATE: np.array([number / 7, -number, 0.5]), GRIP: np.array([number / 10]), LEFT: smooth}


def write(writer: V21Writer, numbers: Iterable[int], *tasks: str) -> None:
    """An episode; the last task is that of all frames that are left."""
    for place, number in enumerate(numbers):
        writer.add(row(number), tasks[min(place, len(tasks) - 1)])
    writer.save_episode()


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def frames(path: Path) -> list[tuple[float, np.ndarray]]:
    with av.open(str(path)) as video:
        stream = video.streams.video[0]
        return [(float(each.pts * stream.time_base), each.to_ndarray(format="rgb24")) for each in video.decode(stream)]


def test_another_reader_finds_every_number_and_picture(tmp_path: Path) -> None:
    writer = V21Writer(tmp_path, form())
    write(writer, range(20), "stack", "unstack")
    for number in range(5):
        writer.add(row(90 + number), "never said")
    writer.forget()
    write(writer, range(20, 32), "unstack")
    again = V21Writer(tmp_path, form())  # another day
    write(again, range(32, 33), "pour")
    assert "3 episodes, 10 frames a second" in again.finish()

    assert files(tmp_path) == [
        *(f"data/chunk-000/episode_{number:06d}.parquet" for number in range(3)),
        *(f"meta/{name}" for name in ("episodes.jsonl", "episodes_stats.jsonl", "info.json", "tasks.jsonl")),
        *(f"videos/chunk-000/{LEFT}/episode_{number:06d}.mp4" for number in range(3)),
    ]
    info = json.loads((tmp_path / "meta" / "info.json").read_text())
    assert {name: value for name, value in info.items() if name != "features"} == {
        "codebase_version": "v2.1", "robot_type": None, "total_episodes": 3, "total_frames": 33, "total_tasks": 3,
        "total_videos": 3, "total_chunks": 1, "chunks_size": 1000, "fps": 10, "splits": {"train": "0:3"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }  # fmt: skip
    assert info["features"][STATE] == {"dtype": "float32", "shape": [3], "names": ["pose", "grip"]}
    assert info["features"]["timestamp"] == {"dtype": "float32", "shape": [1], "names": None}
    said = info["features"][LEFT]
    assert (said["dtype"], said["shape"], said["names"]) == ("video", [32, 48, 3], ["height", "width", "channel"])
    assert said["info"] == said["video_info"]  # LeRobot's name, and GR00T N1.5's where the third axis is a channel
    assert (said["info"]["video.fps"], said["info"]["video.codec"]) == (10, "h264")
    assert lines(tmp_path / "meta" / "tasks.jsonl") == [
        {"task_index": number, "task": task} for number, task in enumerate(["stack", "unstack", "pour"])
    ]
    assert lines(tmp_path / "meta" / "episodes.jsonl") == [
        {"episode_index": 0, "tasks": ["stack", "unstack"], "length": 20},
        {"episode_index": 1, "tasks": ["unstack"], "length": 12},
        {"episode_index": 2, "tasks": ["pour"], "length": 1},
    ]
    stats = lines(tmp_path / "meta" / "episodes_stats.jsonl")
    for episode, numbers in enumerate([range(20), range(20, 32), range(32, 33)]):
        rows = [row(number) for number in numbers]
        table = pq.read_table(tmp_path / f"data/chunk-000/episode_{episode:06d}.parquet")
        told = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
        assert told[STATE] == {"feature": {"dtype": "float32", "_type": "Value"}, "length": 3, "_type": "Sequence"}
        assert told[GRIP] == {"dtype": "float32", "_type": "Value"}
        assert table.column_names == [*told] == [name for name in info["features"] if name != LEFT]
        assert str(table.schema.field(STATE).type) == "fixed_size_list<element: float>[3]"
        columns = {name: np.array(table[name].to_pylist()) for name in table.column_names}
        for name in (STATE, GRIP):
            wanted = np.stack([each[name] for each in rows]).astype(np.float32)
            np.testing.assert_array_equal(
                columns[name].astype(np.float32), wanted.squeeze() if name == GRIP else wanted
            )
            of = stats[episode]["stats"][name]
            for what, function in (("min", np.min), ("max", np.max), ("mean", np.mean), ("std", np.std)):
                np.testing.assert_allclose(of[what], function(wanted, axis=0), atol=1e-6)
            assert of["count"] == [len(rows)]
        np.testing.assert_array_equal(columns["index"], list(numbers))
        np.testing.assert_array_equal(columns["frame_index"], np.arange(len(rows)))
        np.testing.assert_allclose(columns["timestamp"], np.arange(len(rows)) / 10, atol=1e-6)
        assert set(columns["episode_index"]) == {episode}
        assert columns["task_index"].tolist() == [[0, *[1] * 19], [1] * 12, [2]][episode]
        shown = frames(tmp_path / f"videos/chunk-000/{LEFT}/episode_{episode:06d}.mp4")
        assert [at for at, _ in shown] == pytest.approx([number / 10 for number in range(len(rows))], abs=1e-9)
        for (_, found), wanted in zip(shown, rows, strict=True):
            assert np.abs(found.astype(int) - wanted[LEFT]).mean() < 3
        pictures = np.stack([each[LEFT] for each in rows]) / 255
        of = stats[episode]["stats"][LEFT]
        for what, function in (("min", np.min), ("max", np.max), ("mean", np.mean), ("std", np.std)):
            np.testing.assert_allclose(of[what], function(pictures, axis=(0, 1, 2)).reshape(3, 1, 1), atol=1e-9)


def test_columns_of_one_number_may_be_lists_of_one(tmp_path: Path) -> None:
    write(V21Writer(tmp_path, form(), vectors=True), range(3), "stack")
    table = pq.read_table(tmp_path / "data/chunk-000/episode_000000.parquet")
    assert table[GRIP].to_pylist() == [[pytest.approx(number / 10)] for number in range(3)]
    assert table["timestamp"].to_pylist()[0] == 0.0  # LeRobot's own stay bare


def test_nothing_of_an_episode_that_is_given_up_stays(tmp_path: Path) -> None:
    writer = V21Writer(tmp_path, form())
    for number in range(3):
        writer.add(row(number), "stack")
    writer.forget()
    assert files(tmp_path) == []
    write(writer, range(2), "stack")
    assert [at for at, _ in frames(tmp_path / f"videos/chunk-000/{LEFT}/episode_000000.mp4")] == pytest.approx([0, 0.1])


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (form(fps=12.5), r"whole number of frames a second, not 12\.5"),
        (form({LEFT: Feature(shape=(31, 48, 3), dtype="video")}), "video has even sides and 3 channels"),
        (form({LEFT: Feature(shape=(32, 48, 3), dtype="image")}), "a column here is video, or"),
        (form({STATE: Feature(shape=(3, 3), dtype="float32")}), "a column here is video, or"),
        (form({"observation/state": Feature(shape=(3,), dtype="float32")}), "its codec has to name it otherwise"),
        (form({"timestamp": Feature(shape=(1,), dtype="float32")}), "its codec has to name it otherwise"),
    ],
)
def test_what_the_form_does_not_have_is_refused(tmp_path: Path, given: DataSetForm, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        V21Writer(tmp_path, given)
    assert files(tmp_path) == []


def test_nothing_is_added_to_another_data_set_nor_to_a_damaged_one(tmp_path: Path) -> None:
    write(V21Writer(tmp_path, form()), range(2), "stack")
    for other, why in (
        (form(fps=15.0), "its fps is 10, and would be 15"),
        (form({**FEATURES, GRIP: Feature(shape=(2,), dtype="float32")}), "its features is"),
    ):
        with pytest.raises(ConfigurationError, match=f"does not fit what is to be added: {why}"):
            V21Writer(tmp_path, other)
    info, episodes = tmp_path / "meta" / "info.json", tmp_path / "meta" / "episodes.jsonl"
    whole = info.read_text(), episodes.read_text()
    for text, more, why in (
        (whole[0][:-20], whole[1], "info.json is damaged"),
        ("[]", whole[1], "info.json is damaged: it holds"),
        (whole[0].replace('"total_frames": 2', '"total_frames": "2"'), whole[1], "info.json is damaged: it says"),
        (whole[0].replace('"v2.1"', '"v3.0"'), whole[1], "its codebase_version is 'v3.0'"),
        (whole[0], whole[1] * 2, "says 1 episodes, and meta/episodes.jsonl has 2"),
        (whole[0], whole[1] + "{", "episodes.jsonl is damaged"),
    ):
        info.write_text(text), episodes.write_text(more)
        with pytest.raises(ConfigurationError, match=why):
            V21Writer(tmp_path, form())


def test_a_full_disk_is_said_as_one(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for number, room in enumerate((0, 20_000)):  # for nothing, and for the beginning of a video
        writer = V21Writer(tmp_path / str(number), form())
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                write_noise(writer)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        writer.forget()
        assert files(tmp_path) == []


def write_noise(writer: V21Writer) -> None:
    noise = np.random.default_rng(0)
    for frame in range(200):
        writer.add(row(frame) | {LEFT: noise.integers(0, 255, (32, 48, 3)).astype(np.uint8)}, "stack")
    writer.save_episode()


def test_without_its_libraries_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'offboard-core\[convert\]'"):
        V21Writer(tmp_path, form())


@pytest.mark.slow
def test_lerobots_own_reader_finds_what_it_would_have_written(tmp_path: Path) -> None:
    """Version 0.3.3, the last of that form, in an environment of its own; it writes one of the same rows, too."""
    uv = shutil.which("uv")
    assert uv is not None, "this makes an environment for LeRobot 0.3.3 with uv: pip install uv"
    python = str(tmp_path / "env" / "bin" / "python")
    for command in (
        [uv, "venv", "-q", "-p", "3.11", str(tmp_path / "env")],
        [uv, "pip", "install", "-q", "--python", python, "--no-deps", "lerobot==0.3.3"],
        [uv, "pip", "install", "-q", "--python", python, *READER],
    ):
        subprocess.run(command, check=True, timeout=600, cwd=tmp_path)
    for name, vectors in (("openpi.ee", False), ("gr00t.ee_rot6d", True)):
        plugin, _, short = name.partition(".")
        found = Plugins.discover().get(CODEC, short, plugin)
        codec = found.make(found.options()(), Checkpoint(id="it"))
        out, own, rows = tmp_path / name, tmp_path / f"{name}-own", dict[str, Any]()
        writer = V21Writer(
            out, DataSetForm(codec=name, features=codec.features, fps=15.0, target=name), vectors=vectors
        )
        for episode, length in enumerate((30, 45)):
            tasks = ["pick up the cube"] * length if episode == 0 else [f"task {step % 2}" for step in range(length)]
            labels = [codec.label(observed(episode, step / length)) for step in range(length)]
            for label, task in zip(labels, tasks, strict=True):
                writer.add(label, task)
            writer.save_episode()
            rows[f"{episode}/task"] = np.array(tasks)
            for column, feature in codec.features.items():
                dtype = np.uint8 if feature.dtype == "video" else np.float32
                rows[f"{episode}/{column}"] = np.stack([np.asarray(each[column], dtype) for each in labels])
        np.savez(tmp_path / "rows.npz", **rows)
        program = Path(__file__).with_name("lerobot_v21.py")
        said = subprocess.run(
            [python, str(program), str(out), str(tmp_path / "rows.npz"), str(own)],
            capture_output=True, text=True, timeout=900, check=False,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "SVT_LOG": "0"},
        )  # fmt: skip
        assert said.returncode == 0, said.stderr[-3000:]
        ours, theirs = json.loads(said.stdout)
        assert (ours["frames"], ours["episodes"], ours["fps"]) == (75, 2, 15)
        assert ours["right tasks"]
        assert ours["late"] < 1e-6
        for key in ("frames", "episodes", "fps", "ahead"):
            assert ours[key] == theirs[key], key
        assert sorted(ours["tasks"].values()) == sorted(theirs["tasks"].values())
        ours_alone = {"grip"} if vectors else set()  # a list of one, where LeRobot has a number
        assert {key for key, value in ours["columns"].items() if value != theirs["columns"][key]} == ours_alone
        for column, (mean, most) in ours["apart"].items():
            if codec.features[column].dtype == "video":
                assert mean < theirs["apart"][column][0] * 1.1  # no more is lost than in LeRobot's own video
            else:
                assert most == 0, column
        assert ours["stats"].keys() == theirs["stats"].keys()
        for column, each in theirs["stats"].items():
            if column == "task_index":  # LeRobot numbers the tasks of an episode in the order of a set
                continue
            for what, value in each.items():
                np.testing.assert_allclose(ours["stats"][column][what], value, atol=1e-5, err_msg=f"{column} {what}")


def observed(episode: int, share: float) -> dict[str, Any]:
    """What a recording's frame holds; the arm moves."""
    found = observation()
    found["robot_state.ee_pose"] = found["robot_state.ee_pose"] + np.array([share / 10, episode, *[0.0] * 5])
    found["robot_state.q"] = found["robot_state.q"] + share
    found |= {"target_pose": found["robot_state.ee_pose"] + np.eye(7)[2] / 100, "target_grip": np.array([share])}
    found |= {"image.wrist": picture(480, 640, int(200 * share)), "image.exterior": picture(720, 1280, episode)}
    return found
