"""Positronic's own data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from offboard_client.errors import ConfigurationError, RecordingFailed
from offboard_core.readers import PositronicSource
from others_sets import film, lerobot_set, positronic_episode, shade, write_rows

WANTED = ("robot_state.ee_pose", "robot_state.q", "grip", "target_pose", "target_grip", "image.wrist")


def read(folder: Path, fps: float = 15, wanted: Any = WANTED, **names: str) -> list[Any]:
    (episode,) = PositronicSource(folder, names).episodes()
    return list(episode.frames(fps, wanted))


def shown(picture: Any) -> int:
    """Which picture it is."""
    return round((float(picture.mean()) - 20) / 4)


@pytest.mark.parametrize("form", ["old", "new"])
def test_a_frame_is_what_was_known_last(form: str, tmp_path: Path) -> None:
    positronic_episode(tmp_path / "set", form=form)
    frames = read(tmp_path / "set")
    # All is known with the first value of the name that is longest, 19 ms after the camera's first picture.
    assert [frame.seconds for frame in frames] == pytest.approx([number / 15 for number in range(30)])
    assert {frame.task for frame in frames} == {"stack"}
    assert not any(frame.led for frame in frames)
    for frame in frames:
        at = frame.seconds + 0.019 + 1e-6
        for name, rate, signal in (
            ("robot_state.q", 100, "robot_state.q"), ("robot_state.ee_pose", 100, "robot_state.ee_pose"),
            ("grip", 50, "grip"), ("target_pose", 20, "robot_command.pose"), ("target_grip", 20, "target_grip"),
        ):  # fmt: skip
            index = min(int((at - 0.001 * len(signal)) * rate + 1e-6), 2 * rate - 1)
            value = frame.values[name]
            assert (value.dtype, value[0]) == (np.float64, pytest.approx(index / 1000)), name
        assert shown(frame.values["image.wrist"]) == min(int(at * 30 + 1e-6), 59) % 50


def test_what_older_ones_call_commands_is_read_and_two_arms_too(tmp_path: Path) -> None:
    rates = {
        "robot_command.left.joints": 20.0,
        "robot_commands.right.joint_deltas": 20.0,
        "offboard.intervention": 10.0,
    }
    positronic_episode(tmp_path, plural=True, rates=rates)
    (episode,) = PositronicSource(tmp_path, {}).episodes()
    assert set(episode.names()) == {*WANTED, "target_joints.left", "joint_delta.right"}
    assert episode.identity == "positronic-u0"
    frames = list(episode.frames(10, ["target_pose", "target_joints.left"]))
    assert len(frames[0].values["target_joints.left"]) == 7
    assert [frame.led for frame in frames] == [False, *[True] * (len(frames) - 1)]  # its first value is 0


def test_a_camera_by_another_name_is_said(tmp_path: Path) -> None:
    positronic_episode(tmp_path, cameras=["image.handcam_left"])
    with pytest.raises(RecordingFailed, match=r"has no image.wrist; .*image.handcam_left \(pictures\)"):
        read(tmp_path)
    frames = read(tmp_path, **{"image.wrist": "image.handcam_left"})
    assert shown(frames[0].values["image.wrist"]) == 0
    with pytest.raises(RecordingFailed, match=r"there is no column 'image.back'"):
        read(tmp_path, **{"image.wrist": "image.back"})
    with pytest.raises(RecordingFailed, match=r"robot_state.q of .* has 7 numbers, and --map asks for more"):
        read(tmp_path, wanted=["target_joints"], target_joints="robot_state.q[3:9]")


def test_data_sets_below_are_read_and_what_is_not_finished_is_not(tmp_path: Path) -> None:
    for number, place in enumerate(("b", "a/two", "a/one")):
        positronic_episode(tmp_path / place, number)
    (positronic_episode(tmp_path / "b", 3) / ".unfinished").touch()
    (tmp_path / "b" / f"{0:012d}" / f"{4:012d}").mkdir()
    names = [episode.name for episode in PositronicSource(tmp_path, {}).episodes()]
    assert names == [
        f"{tmp_path.name}/{place}/000000000000/00000000000{number}"
        for place, number in (("a/one", 2), ("a/two", 1), ("b", 0))
    ]


def test_what_was_said_of_an_episode_later_counts(tmp_path: Path) -> None:
    folders = [positronic_episode(tmp_path, number, {"eval.outcome": "Stalled"}) for number in range(3)]
    edit(
        tmp_path,
        {"op": "drop", "ep": "u0"},
        {"op": "drop", "ep": "u1"},
        {"op": "set_static", "ep": "u2", "data": {"task": "x"}},
    )
    edit(folders[1], {"op": "undrop", "ep": "u1"}, {"op": "set_static", "ep": "u1", "data": {"eval.notes": "good"}})
    first, second = PositronicSource(tmp_path, {}).episodes()
    assert (first.origin["outcome"], first.origin["note"]) == ("stall", "good")
    assert next(iter(second.frames(15, ["grip"]))).task == "x"
    edit(tmp_path, {"op": "scale", "ep": "u0"})
    with pytest.raises(ConfigurationError, match=r"edits.jsonl says what is not known here: .*scale"):
        PositronicSource(tmp_path, {}).episodes()


def edit(folder: Path, *said: dict[str, Any]) -> None:
    with (folder / "edits.jsonl").open("a") as file:
        file.writelines(json.dumps({"v": 1, **each}) + "\n" for each in said)


@pytest.mark.parametrize(
    ("static", "outcome"),
    [
        ({"eval.outcome": "Success"}, "success"), ({"eval.outcome": "Safety"}, "unsafe"), ({}, None),
        ({"eval.outcome": "System"}, None), ({"eval.success": False}, "fail"),
        ({"eval.outcome": "Fail", "offboard.outcome": "partial"}, "partial"),
    ],
)  # fmt: skip
def test_its_words_for_what_came_of_a_trial_are_ours(
    static: dict[str, Any], outcome: str | None, tmp_path: Path
) -> None:
    positronic_episode(tmp_path, static=static)
    (episode,) = PositronicSource(tmp_path, {}).episodes()
    assert episode.origin.get("outcome") == outcome


def signal(name: str, times: list[int], values: list[Any]) -> Any:
    def change(folder: Path) -> None:
        rows = [
            {"timestamp": 1_700_000_000_000_000_000 + at, "value": value}
            for at, value in zip(times, values, strict=True)
        ]
        write_rows(folder / f"{name}.parquet", rows)

    return change


MS = 1_000_000
DAMAGE = {
    "nan": (
        signal("grip", [*range(0, 2000 * MS, MS * 20)], [*[0.5] * 50, *[float("nan")] * 50]),
        r"grip of .* is \[nan\] at",
    ),
    "hole": (
        signal("grip", [*range(0, 500 * MS, MS * 20), *range(1200 * MS, 2000 * MS, MS * 20)], [0.5] * 65),
        r"has a hole: grip was not observed from 0.46 s to 1.\d\d s",
    ),
    "back": (signal("grip", [0, 200 * MS, 100 * MS], [0.0, 0.1, 0.2]), "the times of grip go back"),
    "wide": (signal("grip", [0, MS], [[0.0, 1.0], [0.0]]), "rows have not as many numbers each"),
    "text": (signal("grip", [0, MS], ["a", "b"]), "and no numbers"),
    "long": (signal("target_grip", [0, 10**15], [0.0, 1.0]), "which is more than a day"),
    "cut": (lambda folder: (folder / "grip.parquet").write_bytes(b"PAR1"), "is damaged, or cut short"),
    "no video": (lambda folder: (folder / "image.wrist.mp4").unlink(), "has no video"),
    "no times": (lambda folder: (folder / "image.wrist.frames.parquet").unlink(), "nothing says when the frames"),
    "short video": (lambda folder: film(folder / "image.wrist.mp4", [shade(1)] * 9, 100), "has 9 frames, and more are"),
    "static": (lambda folder: (folder / "static.json").write_text("{"), "static.json cannot be read"),
    "camera away": (lambda folder: (folder / "grip.parquet").unlink(), "has no grip; say where it is: --map grip"),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_what_is_damaged_is_one_error(what: str, tmp_path: Path) -> None:
    damage, says = DAMAGE[what]
    damage(positronic_episode(tmp_path / "set"))
    with pytest.raises(RecordingFailed, match=says):
        read(tmp_path / "set")


def test_an_episode_of_no_length_is_said(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = positronic_episode(tmp_path)
    empty = {"timestamp": pa.array([], pa.int64()), "value": pa.array([], pa.float64())}
    pq.write_table(pa.table(empty), folder / "grip.parquet")
    with pytest.raises(RecordingFailed, match="has no length: there is nothing of grip"):
        read(tmp_path)
    signal("grip", [1999 * MS], [0.5])(folder)
    with pytest.raises(RecordingFailed, match="has no length: it ends when all is known"):
        read(tmp_path, wanted=["grip", "target_grip"])


def test_a_clock_that_one_signal_lacks_is_said(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = positronic_episode(tmp_path, form="new")
    table = pa.table({"ts.harness.world": pa.array([0, 1]), "value": pa.array([0.0, 1.0])})
    pq.write_table(table.replace_schema_metadata({b"positronic.signal_version": b"2"}), folder / "grip.parquet")
    with pytest.raises(RecordingFailed, match=r"has no times of the clock harness.world, and other signals have"):
        read(tmp_path)
    pq.write_table(table.replace_schema_metadata({b"positronic.signal_version": b"3"}), folder / "grip.parquet")
    with pytest.raises(RecordingFailed, match="is of the form b'3' of signals, and 2 is read"):
        read(tmp_path)


def test_a_folder_of_none_is_no_source(tmp_path: Path) -> None:
    lerobot_set(tmp_path / "set")
    with pytest.raises(ConfigurationError, match="without a finished episode"):
        PositronicSource(tmp_path, {}).episodes()
