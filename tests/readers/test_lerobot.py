"""LeRobot's data sets, read as files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from offboard_client.errors import ConfigurationError, RecordingFailed
from offboard_core.readers import LeRobotSource
from others_sets import film, lerobot_set, row, shade, write_rows

FORMS = ("v2.1", "v3.0")
WANTED = ("robot_state.ee_pose", "robot_state.q", "grip", "target_pose", "target_grip", "image.wrist")
VIDEOS = {
    "v2.1": "videos/chunk-000/observation.images.wrist/episode_000001.mp4",
    "v3.0": "videos/observation.images.wrist/chunk-000/file-000.mp4",
}
ROWS = {"v2.1": "data/chunk-000/episode_000001.parquet", "v3.0": "data/chunk-000/file-000.parquet"}


def read(folder: Path, episode: int = 1, fps: float = 30, wanted: Any = WANTED, **names: str) -> list[Any]:
    return list(LeRobotSource(folder, names).episodes()[episode].frames(fps, wanted))


def is_shade(picture: Any, number: int) -> bool:
    return picture.dtype == np.uint8 and bool(np.abs(picture.astype(int) - shade(number)).max() <= 3)


@pytest.mark.parametrize("form", FORMS)
def test_each_frame_is_there_as_it_was(form: str, tmp_path: Path) -> None:
    source = LeRobotSource(lerobot_set(tmp_path / "cubes", form, stills=True), {})
    first, second = source.episodes()
    assert (first.name, second.name) == ("cubes, episode 0", "cubes, episode 1")
    assert (first.seconds, second.seconds) == pytest.approx((12 / 30, 7 / 30))
    assert set(first.names()) == {*WANTED, "image.side"}
    assert first.origin == {"data_set": "cubes", "form": f"lerobot {form}", "episode": 0}
    for number, episode in enumerate((first, second)):
        frames = list(episode.frames(30, {*WANTED, "image.side"}))
        assert [frame.seconds for frame in frames] == pytest.approx([place / 30 for place in range((12, 7)[number])])
        assert {frame.task for frame in frames} == {f"task {number}"}
        assert [frame.led for frame in frames] == [place > 4 for place in range(len(frames))]
        for place, frame in enumerate(frames):
            state = np.concatenate([frame.values[name] for name in ("robot_state.ee_pose", "grip", "robot_state.q")])
            action = np.concatenate([frame.values[name] for name in ("target_pose", "target_grip")])
            assert state.dtype == np.float64
            assert state.tolist() == pytest.approx(row(number, place)["observation.state"])
            assert action.tolist() == pytest.approx(row(number, place)["action"])
            assert is_shade(frame.values["image.wrist"], 10 * number + place)
            assert np.array_equal(frame.values["image.side"], shade(place + 3))


@pytest.mark.parametrize("form", FORMS)
def test_at_a_lower_rate_what_was_known_last_is_taken(form: str, tmp_path: Path) -> None:
    frames = read(lerobot_set(tmp_path / "cubes", form), 0, 12.5)
    taken = [0, 2, 4, 7, 9]  # at 0, 80, 160, 240 and 320 ms, of frames every 33 ms
    assert [round(float(frame.values["grip"][0]) * 100) for frame in frames] == taken
    assert all(is_shade(frame.values["image.wrist"], number) for frame, number in zip(frames, taken, strict=True))


def test_pictures_that_nobody_asks_for_are_not_looked_for(tmp_path: Path) -> None:
    folder = lerobot_set(tmp_path / "cubes", "v3.0")
    (folder / VIDEOS["v3.0"]).unlink()
    assert len(read(folder, wanted=["grip", "task"])) == 7
    with pytest.raises(RecordingFailed, match=r"has no video: .*file-000.mp4 is missing"):
        read(folder)


def test_a_person_says_which_columns_are_which(tmp_path: Path) -> None:
    features = {
        "action": {"dtype": "float32", "shape": [8], "names": ["actions"]},
        "observation.state": {"dtype": "float32", "shape": [15], "names": {"motors": [f"m{n}" for n in range(15)]}},
    }
    folder = lerobot_set(tmp_path / "cubes", features=features)
    with pytest.raises(RecordingFailed, match=r"has no target_pose; say .*--map target_pose=action.0:7. .*m1"):
        read(folder, wanted=["target_pose"])
    (frame, *_) = read(folder, wanted=["target_pose", "image.exterior"], **{
        "target_pose": "action[0:7]", "image.exterior": "observation.images.wrist",
    })  # fmt: skip
    assert frame.values["target_pose"].tolist() == pytest.approx(row(1, 0)["action"][:7])
    assert is_shade(frame.values["image.exterior"], 10)
    with pytest.raises(ConfigurationError, match="there is no column 'actoin' of cubes"):
        LeRobotSource(folder, {"target_pose": "actoin[0:7]"})


def test_it_is_known_again_wherever_it_lies(tmp_path: Path) -> None:
    for form in FORMS:
        folder = lerobot_set(tmp_path / form, form)
        before = [each.identity for each in LeRobotSource(folder, {}).episodes()]
        moved = folder.rename(tmp_path / f"{form} elsewhere")
        assert [each.identity for each in LeRobotSource(moved, {}).episodes()] == before
        assert len(set(before)) == 2


def test_what_offboard_said_of_an_episode_is_its_origin(tmp_path: Path) -> None:
    folder = lerobot_set(tmp_path / "cubes")
    said = {"episodes": [{"episode_index": 1, "outcome": "success", "note": "slow"}, "nonsense"]}
    (folder / "meta" / "offboard.json").write_text(json.dumps(said))
    first, second = LeRobotSource(folder, {}).episodes()
    assert "outcome" not in first.origin
    assert (second.origin["outcome"], second.origin["note"], second.origin["episode"]) == ("success", "slow", 1)
    for nonsense in (5, True, {"0": {}}, "x", None):
        (folder / "meta" / "offboard.json").write_text(json.dumps({"episodes": nonsense}))
        assert all("outcome" not in each.origin for each in LeRobotSource(folder, {}).episodes())


def test_a_rate_that_would_take_frames_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingFailed, match=r"cubes, episode 1 has 30 frames a second, and 50 would take some twice"):
        read(lerobot_set(tmp_path / "cubes"), fps=50)


@pytest.mark.parametrize("form", FORMS)
def test_an_episode_without_a_frame_has_no_length(form: str, tmp_path: Path) -> None:
    folder = lerobot_set(tmp_path / "cubes", form, (5, 0, 4))
    with pytest.raises(RecordingFailed, match="cubes, episode 1 has no length"):
        read(folder, 1)
    assert len(read(folder, 2)) == 4


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ("v2.0", "is a LeRobot data set of the form 'v2.0', and v2.1 and v3.0 are read: .*convert_dataset_v20_to_v21"),
        ("v4.0", "of the form 'v4.0'"), (None, "of the form None"),
    ],
)  # fmt: skip
def test_another_form_is_refused(form: Any, says: str, tmp_path: Path) -> None:
    folder = lerobot_set(tmp_path / "cubes", info={"codebase_version": form})
    with pytest.raises(ConfigurationError, match=says):
        LeRobotSource(folder, {})


HOSTILE = [
    "../../secret-{file_index:03d}.parquet", "/etc/passwd.parquet", "data/{chunk_index.__class__}.parquet",
    "data/{file_index!r}.parquet", "data/{file_index:>9999999999}.parquet", "data/{nobody}.parquet", "..", "data/{",
    "C:\\x.parquet", "a" * 2000, 7, "data/{video_key}/x.parquet",
]  # fmt: skip


@pytest.mark.parametrize("template", HOSTILE)
def test_nothing_is_read_that_is_elsewhere(template: Any, tmp_path: Path) -> None:
    """The file that the first would lead to is there, and whole."""
    folder = lerobot_set(tmp_path / "a" / "cubes", info={"data_path": template})
    (folder / ROWS["v3.0"]).rename(tmp_path / "secret-000.parquet")
    with pytest.raises(RecordingFailed, match=r"its data_path is|names a file that would not be in it"):
        read(folder)
    key = "../../../videos"
    features = {key: {"dtype": "video", "shape": [32, 48, 3], "names": None}}
    folder = lerobot_set(tmp_path / "b", "v2.1", features=features)
    film(folder / ".." / "x.mp4", [shade(0)] * 7, 30)
    with pytest.raises(RecordingFailed, match="names a file that would not be in it"):
        read(folder, wanted=["image.x"], **{"image.x": key})


Rows = list[dict[str, Any]]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def rewrite(path: Path, change: Callable[[Rows], Any]) -> None:
    import pyarrow.parquet as pq

    rows = pq.read_table(path).to_pylist()
    change(rows)
    write_rows(path, rows)


def state(value: float) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        rows[-2]["observation.state"][7] = value

    return change


#: What is changed in the rows of all episodes, and what is said of it.
ROW_DAMAGE: Mapping[str, tuple[Callable[[Rows], Any], str]] = {
    "nan": (state(float("nan")), r"grip of cubes, episode 1 is \[nan\] at 0.167 s"),
    "inf": (state(float("inf")), r"grip of cubes, episode 1 is \[inf\]"),
    "fewer": (lambda rows: rows.pop(), r"has 6 rows in .*, and 7 are listed"),
    "number": (lambda rows: rows[-1].update(frame_index=9), "not numbered from 0"),
    "rate": (lambda rows: rows[-1].update(timestamp=0.5), "rows are not 30 a second"),
    "task": (lambda rows: rows[-1].update(task_index=5), "no task has the number 5"),
    "width": (lambda rows: [each["action"].pop() for each in rows], "and not 8 in each"),
    "ragged": (lambda rows: rows[-1]["action"].append(rows[-2]["action"].pop()), "have not as many numbers each"),
    "text": (lambda rows: [each.update(action=["x"]) for each in rows], "no numbers"),
    "null": (lambda rows: rows[-1].update(action=None), "rows without numbers"),
    "column": (lambda rows: [each.pop("action") for each in rows], "has no column action"),
}
#: The file, what is done to it, and what is said.
FILE_DAMAGE: Mapping[str, tuple[Mapping[str, str], Callable[[Path], Any], str]] = {
    "cut rows": (ROWS, cut, "is damaged, or cut short"),
    "no rows": (ROWS, Path.unlink, "parquet is missing"),
    "no video": (VIDEOS, Path.unlink, r"has no video: .* is missing"),
    "cut video": (VIDEOS, lambda path: path.write_bytes(path.read_bytes()[:400]), "is no video, or damaged"),
    "text as video": (VIDEOS, lambda path: path.write_bytes(b"no video"), "is no video, or damaged"),
    "size": (VIDEOS, lambda path: film(path, [shade(0, 16, 16)] * 19, 30), r"has 16 x 16 pixels in .*says 32 x 48"),
    "short": (VIDEOS, lambda path: film(path, [shade(0)] * 3, 30), "has no frame at"),
    "slow": (VIDEOS, lambda path: film(path, [shade(0)] * 19, 15), "has no frame at"),
}


@pytest.mark.parametrize("what", ROW_DAMAGE)
def test_rows_that_are_damaged_are_one_error(what: str, tmp_path: Path) -> None:
    damage, says = ROW_DAMAGE[what]
    for form in FORMS:
        folder = lerobot_set(tmp_path / form / "cubes", form)
        rewrite(folder / ROWS[form], damage)
        with pytest.raises(RecordingFailed, match=says):
            read(folder)


def test_a_text_that_stands_for_a_thousand_rows_is_in_memory_once(tmp_path: Path) -> None:
    """Its file has kilobytes; it would be gigabytes, had each row its own."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = lerobot_set(tmp_path / "cubes", "v3.0")
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array(["x" * 200_000]))
    table = pa.table({"task_index": list(range(1000)), "task": text})
    pq.write_table(table, folder / "meta" / "tasks.parquet", store_schema=False)
    pool = pa.default_memory_pool()
    before = pool.max_memory()
    assert {frame.task for frame in read(folder)} == {"x" * 200_000}
    assert pool.max_memory() - before < 50e6
    pq.write_table(pa.table({"task_index": [0, 1], "task": ["x", None]}), folder / "meta" / "tasks.parquet")
    with pytest.raises(RecordingFailed, match="is no text in each row"):
        read(folder)
    pq.write_table(pa.table({"task_index": [0, 1], "task": [1, 2]}), folder / "meta" / "tasks.parquet")
    with pytest.raises(RecordingFailed, match="is no text in each row"):
        read(folder)


@pytest.mark.parametrize("what", FILE_DAMAGE)
def test_a_file_that_is_damaged_is_one_error(what: str, tmp_path: Path) -> None:
    where, damage, says = FILE_DAMAGE[what]
    for form in FORMS:
        folder = lerobot_set(tmp_path / form / "cubes", form)
        damage(folder / where[form])
        with pytest.raises(RecordingFailed, match=says):
            read(folder)


def test_a_picture_of_another_size_or_of_no_form_is_one_error(tmp_path: Path) -> None:
    for data, says in ((b"no picture", "cannot be decoded"), (None, "has no picture in row")):
        folder = lerobot_set(tmp_path / says.split()[-1], "v2.1", stills=True)
        rewrite(folder / ROWS["v2.1"], lambda rows, data=data: rows[3]["observation.images.side"].update(bytes=data))
        with pytest.raises(RecordingFailed, match=says):
            [frame.values["image.side"] for frame in read(folder, wanted=["image.side"])]


def test_a_picture_larger_than_any_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of some hundred bytes unpacks to any size, and eight of them stand for one another."""
    import pyarrow as pa

    folder, pool = lerobot_set(tmp_path / "cubes", "v2.1", stills=True), pa.default_memory_pool()
    large = 8 * 2**20
    monkeypatch.setattr("offboard_core.readers.files._PICTURE", large - 1)
    one, each = f"has {large:,} bytes in row 3, and no picture has more than", "bytes a row once it is unpacked"
    for places, says in ((range(3, 4), one), (range(5), each)):
        path = folder / ROWS["v2.1"]
        rewrite(path, lambda rows, places=places: [_picture_of(rows[place], place, large) for place in places])
        held = max(pool.bytes_allocated(), pool.max_memory())
        with pytest.raises(RecordingFailed, match=says):
            [frame.values["image.side"] for frame in read(folder, wanted=["image.side"])]
        assert pool.max_memory() - held < 4 * large


def _picture_of(row: dict[str, Any], number: int, size: int) -> None:
    row["observation.images.side"].update(bytes=bytes([number]) * size)


def test_a_picture_of_another_size_than_is_said_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = lerobot_set(tmp_path / "cubes", "v2.1", stills=True)
    described = json.loads((folder / "meta" / "info.json").read_text())["features"]
    described["observation.images.side"]["shape"] = [32, 40, 3]
    info(folder, features=described)

    def decoded(data: bytes) -> Any:
        raise AssertionError("it was decoded")

    monkeypatch.setattr("offboard_core.readers.lerobot.decode_image", decoded)
    with pytest.raises(RecordingFailed, match=r"is \(32, 48\), and its data set says \(32, 40\)"):
        [frame.values["image.side"] for frame in read(folder, wanted=["image.side"])]


WRONG: Mapping[str, tuple[Callable[[Path], Any], str]] = {
    "no json": (lambda f: (f / "meta" / "info.json").write_text("{"), "cannot be read"),
    "a list": (lambda f: (f / "meta" / "info.json").write_text("[]"), "holds no map"),
    "deep": (lambda f: (f / "meta" / "info.json").write_text("[" * 100_000), "cannot be read"),
    "no episodes": (lambda f: (f / "meta/episodes/chunk-000/file-000.parquet").unlink(), "nothing says which episodes"),
    "cut episodes": (lambda f: cut(f / "meta/episodes/chunk-000/file-000.parquet"), "is damaged, or cut short"),
    "two of one number": (
        lambda f: rewrite(f / "meta/episodes/chunk-000/file-000.parquet", lambda rows: rows[1].update(episode_index=0)),
        "two episodes have one number",
    ),
    "negative": (
        lambda f: rewrite(f / "meta/episodes/chunk-000/file-000.parquet", lambda rows: rows[1].update(length=-1)),
        "the length of an episode is -1",
    ),
    "no features": (lambda f: info(f, features=None), "says nothing of its features"),
    "no rate": (lambda f: info(f, fps=0), "says 0 frames a second"),
    "nan rate": (lambda f: info(f, fps=float("nan")), "says nan frames a second"),
    "true rate": (lambda f: info(f, fps=True), "says True frames a second"),
    "shape": (lambda f: info(f, features={"action": {"dtype": "float32", "shape": [10**12]}}), "has the shape"),
    "form": (lambda f: info(f, codebase_version={}), "of the form {}"),
}  # fmt: skip


def info(folder: Path, **changed: Any) -> None:
    path = folder / "meta" / "info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


@pytest.mark.parametrize("what", WRONG)
def test_what_says_nothing_of_itself_is_no_source(what: str, tmp_path: Path) -> None:
    folder = lerobot_set(tmp_path / "cubes")
    damage, says = WRONG[what]
    damage(folder)
    with pytest.raises(ConfigurationError, match=says):
        LeRobotSource(folder, {}).episodes()


@pytest.mark.parametrize("line", ["{", "[]", "x" * 100, '{"episode_index": "0", "length": 3}'])
def test_a_line_that_is_none_is_one_error(line: str, tmp_path: Path) -> None:
    folder = lerobot_set(tmp_path / "cubes", "v2.1")
    with (folder / "meta" / "episodes.jsonl").open("a") as file:
        file.write(line)
    with pytest.raises(ConfigurationError, match=r"episodes.jsonl|is damaged"):
        LeRobotSource(folder, {}).episodes()


def test_a_file_that_says_it_is_larger_than_any_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = lerobot_set(tmp_path / "cubes")
    (_, episode) = LeRobotSource(folder, {}).episodes()
    monkeypatch.setattr("offboard_core.readers.files._COLUMN", 200)
    with pytest.raises(RecordingFailed, match="bytes once it is unpacked"):
        list(episode.frames(30, WANTED))
    monkeypatch.setattr("offboard_core.readers.files._ROWS", 3)
    (_, episode) = LeRobotSource(folder, {}).episodes()
    with pytest.raises(RecordingFailed, match="says that it has 19 rows"):
        list(episode.frames(30, WANTED))
