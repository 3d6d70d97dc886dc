"""What the page of recordings is told: the list, an episode's curves and pictures, and what is wrong with a file."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from asgi_calls import Asked
from filmed import CLOCK, answer, begin, picture, record, sample, shadow, tick
from offboard_client.errors import ConfigurationError
from offboard_client.evaluation import Plan, Trial, TrialLog, edit_review, read_review, review_path
from offboard_client.pages import Replay, pages_app
from offboard_client.play import Answer, Command, Outcome, Sample, Tick
from offboard_client.recording import (
    EPISODE,
    OUTCOME,
    VERSION,
    Episode,
    Recorder,
    RecordingFile,
    Topics,
    decode_image,
    glance,
    own,
)
from waits import until


def unpack(data: bytes) -> tuple[float, float, list[tuple[float, Any]]]:
    magic, count, start, end = struct.unpack_from("<4sIdd", data)
    assert magic == b"OBF1"
    table = [struct.unpack_from("<dI", data, 24 + 12 * i) for i in range(count)]
    at, found = 24 + 12 * count, []
    for seconds, size in table:
        found.append((seconds, decode_image(data[at : at + size])))
        at += size
    assert at == len(data)
    return start, end, found


def ids(pages: Any) -> dict[str, str]:
    return {row["task"]: row["id"] for row in pages("GET", "/api/episodes").json["episodes"]}


def test_the_list_says_of_each_episode_what_it_was(pages: Any, folder: Path) -> None:
    told = pages("GET", "/api/episodes").json
    assert told["folder"] == str(folder)
    row = next(row for row in told["episodes"] if row["task"] == "sort")
    assert row["seconds"] == pytest.approx(0.6)
    known = {name: row[name] for name in ("model", "success", "cameras", "state", "review", "seed", "at", "missed")}
    assert known == {
        "model": "m", "success": True, "cameras": ["wrist"], "state": "whole", "review": {}, "seed": 7, "missed": 0,
        "at": 1_800_000_000.0,
    }  # fmt: skip


def test_what_an_evaluation_tries_is_called_as_it_calls_it(tmp_path: Path) -> None:
    record(tmp_path, 4, model="m?speed=0.1")
    replay = Replay(tmp_path)
    (row,) = Asked(pages_app(replay))("GET", "/api/episodes").json["episodes"]
    assert row["model"] == "m?speed=0.1"
    replay.close()


@pytest.mark.parametrize(("run", "told"), [
    ({"trial": 12, "start": 5}, (12, 5)), ({}, (None, None)), ({"trial": True, "start": -1}, (None, None)),
    ({"trial": "12", "start": float("nan")}, (None, None)), ({"trial": 10**400, "start": [5]}, (None, None)),
])  # fmt: skip
def test_the_list_says_which_trial_of_an_evaluation_it_was(tmp_path: Path, run: dict[str, Any], told: Any) -> None:
    record(tmp_path, 4, **run)
    replay = Replay(tmp_path)
    (row,) = Asked(pages_app(replay))("GET", "/api/episodes").json["episodes"]
    assert (row["number_of_trial"], row["start"]) == told
    replay.close()


def test_a_file_is_looked_at_once_and_again_when_it_has_changed(
    pages: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []
    monkeypatch.setattr("offboard_client.pages.library.glance", lambda path: looked.append(path) or glance(path))
    pages("GET", "/api/episodes")
    looked.clear()
    new = record(folder, 4, task="new")
    assert set(ids(pages)) == {"sort", "stack <b>cubes</b>", "new"}
    assert set(ids(pages)) == {"sort", "stack <b>cubes</b>", "new"}
    assert looked == [new]
    edit_review(new, {"outcome": "fail"}, {})
    reviews = {row["task"]: row["review"].get("outcome") for row in pages("GET", "/api/episodes").json["episodes"]}
    assert (reviews["new"], reviews["sort"], looked) == ("fail", None, [new])
    new.unlink()
    assert set(ids(pages)) == {"sort", "stack <b>cubes</b>"}


def test_an_episode_has_its_cameras_and_what_is_drawn_with_what(pages: Any) -> None:
    told = pages("GET", f"/api/episodes/{ids(pages)['sort']}").json
    assert told["cameras"] == ["wrist"]
    assert told["duration"] == pytest.approx(0.6)
    assert told["run"]["command"] == "offboard run test"
    drawn = {plot["name"]: plot["against"] for plot in told["plots"]}
    assert drawn["target_pose"] == "robot_state.ee_pose"
    assert drawn["target_grip"] == "grip"
    assert drawn["robot_state.q"] == "robot_state.q"


@pytest.mark.parametrize(("order", "labels"), [
    ([f"joint{number}" for number in range(7)], [f"joint{number}" for number in range(7)]), (None, []), (7, []),
    ([1, {}, None], []), (["x" * 9000], ["x" * 40]), (["j"] * 9000, ["j"] * 32), ({"a": 1}, []), ([], []),
])  # fmt: skip
def test_curves_have_the_names_that_the_recording_has(tmp_path: Path, order: Any, labels: list[str]) -> None:
    record(
        tmp_path, 4, task="named", robot={"measures": {"robot_state.q": {"order": order}, "grip": 3}, "plays": order}
    )
    replay = Replay(tmp_path)
    pages = Asked(pages_app(replay))
    told = pages("GET", f"/api/episodes/{ids(pages)['named']}").json
    assert {plot["name"]: plot["labels"] for plot in told["plots"]}["robot_state.q"] == labels
    replay.close()


def test_curves_stand_where_the_robots_clock_was(pages: Any) -> None:
    told = pages("GET", f"/api/episodes/{ids(pages)['sort']}/series").json
    q = told["curves"]["/observation/robot_state/q"]
    assert q["t"] == pytest.approx([number * 0.05 for number in range(12)], abs=1e-3)
    assert q["v"][0] == pytest.approx([number / 7 for number in range(12)], abs=1e-4)
    assert told["rungs"] == [[0.0, pytest.approx(0.6), "playing"]]
    assert [each["ms"] for each in told["answers"]] == [20.0] * 3
    chunk = told["chunks"]["/chunk/target_pose"][1]
    assert np.diff(chunk["t"]) == pytest.approx([0.1])
    assert chunk["v"][2] == [0.304, 0.304]
    part = pages("GET", f"/api/episodes/{ids(pages)['sort']}/series", **{"from": 0.2, "to": 0.3}).json
    assert part["curves"].keys() == told["curves"].keys()


def test_what_a_shadow_answered_is_drawn_where_the_policys_rows_lie(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {"task": "both"})
    begin(recorder)
    for number in range(0, 12, 4):
        seen = sample(recorder, number, asked=True)
        for say in (answer, shadow):
            rows = [{"timestamp": step / 10, "action": {"target_grip": np.array([number / 10])}} for step in (0, 1)]
            say(recorder, seen, number * 0.05, rows)
        tick(recorder, number, {"target_grip": np.array([0.1])})
    recorder.ended(Outcome(True))
    replay = Replay(tmp_path)
    pages = Asked(pages_app(replay))
    (name,) = ids(pages).values()
    told = pages("GET", f"/api/episodes/{name}").json
    assert told["shadow"]["server"] == "there:8000"
    (plot,) = [each for each in told["plots"] if each["name"] == "target_grip"]
    drawn = pages("GET", f"/api/episodes/{name}/series").json
    policys, shadows = (drawn["chunks"][plot[kind]] for kind in ("answered", "shadow"))
    assert policys == shadows
    assert len(policys) == 3
    assert [each["ms"] for each in drawn["shadow"]] == [40.0] * 3
    replay.close()


def test_what_the_model_saw_stands_beside_what_it_was_sent(tmp_path: Path) -> None:
    """In a server's recording, whose sessions neither observe nor play."""
    file = RecordingFile(tmp_path / "session.mcap")
    file.describe(EPISODE, {"version": VERSION, "number": 1, "wall_time": 1.8e9, "run": {"task": "sort"}, "meta": {}})
    topics = Topics(file)
    for number in range(4):
        at = 1_800_000_000_000_000_000 + number * 100_000_000
        topics.still("image.wrist", picture(number), at)
        topics.still("observation.images.wrist", picture(number + 40, 24, 32), at, "seen")
    file.describe(OUTCOME, {"success": None, "seconds": 0.4})
    file.finish()
    replay = Replay(tmp_path)
    pages = Asked(pages_app(replay))
    (name,) = ids(pages).values()
    seen = "seen: observation.images.wrist"
    assert pages("GET", f"/api/episodes/{name}").json["cameras"] == ["wrist", seen]
    for camera, shape, first in (("wrist", (48, 64, 3), 0), (seen, (24, 32, 3), 40)):
        _, _, found = unpack(pages("GET", f"/api/episodes/{name}/film", camera=camera, t=0.0).body)
        assert [at for at, _ in found] == pytest.approx([0.0, 0.1, 0.2, 0.3])
        for number, (_, image) in enumerate(found):
            assert image.shape == shape
            assert np.abs(image.astype(int) - picture(first + number, *shape[:2])).mean() < 25
    replay.close()


def stood_still(folder: Path) -> Path:
    """Thought took a second of the wall's time before each of six commands; the robot's clock stood still."""
    recorder = Recorder(folder, {"task": "still"})
    begin(recorder)
    for number in range(6):
        wall = number * 20
        seen = {"image.wrist": picture(number)}
        recorder.sampled(Sample(seen, CLOCK + wall * 0.05, number * 0.05, 2.0, {}, True))
        action = {"target_grip": [number / 10]}
        recorder.answered(
            Answer(seen, [{"timestamp": 0.0, "action": action}], CLOCK + wall * 0.05, 2.0, 990.0, {"total_ms": 990.0})
        )
        command = Command({"target_grip": np.array([number / 10])}, 0.05, 0)
        recorder.ticked(Tick(command, "playing", CLOCK + wall * 0.05 + 0.995, number * 0.05, seen, 1.0))
    recorder.ended(Outcome(None))
    return recorder.recorded.files[0]


def test_pictures_and_commands_fit_where_the_robots_clock_stood_still(tmp_path: Path) -> None:
    stood_still(tmp_path)
    replay = Replay(tmp_path)
    pages = Asked(pages_app(replay))
    (name,) = ids(pages).values()
    told = pages("GET", f"/api/episodes/{name}").json
    assert told["wall"] == pytest.approx(6.0, abs=0.1)
    assert told["duration"] == pytest.approx(0.3)
    curves = pages("GET", f"/api/episodes/{name}/series").json
    grip = curves["curves"]["/action/target_grip"]
    assert grip["t"] == pytest.approx([number * 0.05 for number in range(6)], abs=1e-3)
    frames: dict[float, Any] = {}
    seconds = 0.0
    while seconds < 0.3:
        _, end, found = unpack(pages("GET", f"/api/episodes/{name}/film", camera="wrist", t=seconds).body)
        frames |= dict(found)
        assert end > seconds
        seconds = end
    assert sorted(frames) == pytest.approx([number * 0.05 for number in range(6)], abs=1e-3)
    replay.close()


def test_frames_of_any_moment_are_the_ones_that_were_recorded(pages: Any) -> None:
    name = ids(pages)["stack <b>cubes</b>"]
    for seconds in (2.3, 0.0, 1.1):
        start, end, found = unpack(pages("GET", f"/api/episodes/{name}/film", camera="wrist", t=seconds).body)
        assert start <= seconds < end
        for at, image in found:
            expected = picture(round(at / 0.05)).astype(int)
            assert np.abs(image.astype(int) - expected).mean() < 12
        assert {round(at / 0.05) for at, _ in found} >= {
            number for number in range(48) if start <= number * 0.05 < min(end, 2.35)
        }
    small = unpack(pages("GET", f"/api/episodes/{name}/film", camera="wrist", t=0, width=32).body)[2][0][1]
    assert small.shape == (24, 32, 3)
    thumbnail = pages("GET", f"/api/episodes/{name}/thumbnail", stamp="x")
    assert decode_image(thumbnail.body).shape == (48, 64, 3)
    assert "immutable" in thumbnail.headers["cache-control"]


def test_stills_are_shown_where_no_video_was_recorded(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, {}, video=False)
    begin(recorder)
    for number in range(8):
        seen = sample(recorder, number, number % 4 == 0)
        tick(recorder, number, {"target_grip": np.array([0.5])})
        if number % 4 == 0:
            answer(recorder, seen, number * 0.05)
    recorder.ended(Outcome(None))
    replay = Replay(tmp_path)
    pages = Asked(pages_app(replay))
    (row,) = pages("GET", "/api/episodes").json["episodes"]
    assert row["cameras"] == ["wrist"]
    _, _, found = unpack(pages("GET", f"/api/episodes/{row['id']}/film", camera="wrist", t=0.1).body)
    assert [at for at, _ in found] == pytest.approx([0.0, 0.2])
    assert np.abs(found[1][1].astype(int) - picture(4)).mean() < 6
    replay.close()


def wrong(folder: Path) -> dict[str, str]:
    """A folder with what is no whole recording: file → what is said of it, in the list or when it is asked for."""
    whole = record(folder, 40)
    data = whole.read_bytes()
    (folder / "text.mcap").write_text("hello, this is a text of some length")
    version = b"\x07\0\0\0version\x01\0\0\x001"
    assert version in data
    (folder / "newer.mcap").write_bytes(data.replace(version, version[:-1] + b"9"))
    (folder / "empty.mcap").write_bytes(b"")
    damaged = bytearray(data)
    damaged[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    (folder / "damaged.mcap").write_bytes(damaged)
    return {
        "text.mcap": "text.mcap is no recording: it does not begin as an MCAP file does",
        "newer.mcap": "is a recording of version 9, and this offboard reads version 1",
        "empty.mcap": "empty.mcap is no recording",
    }


def odd(path: Path, **fields: Any) -> None:
    """A recording with its index, whose messages and metadata hold what JSON has no form for."""
    file = RecordingFile(path)
    file.describe(EPISODE, {"version": VERSION, "run": {}, "meta": {"model_id": "m", "loss": float("nan")}})
    for number in range(4):
        at = round((1_800_000_000.0 + number / 20) * 1e9)
        seconds = {"seconds": number / 20, **fields}
        file.write("/observed", own("Observed"), at, seconds=seconds["seconds"])
        file.write(
            "/chunk/grip", own("Chunk"), at, {"name": "grip"}, offsets=[0.0, float("inf")], width=1, values=[1.0, 2.0]
        )
        Topics(file).still("image.wrist", picture(0), at)
        file._waiting["foxglove.CompressedImage"][-1] = (file._channels["/sent/wrist"][0], at, b"")
        file.write("/played", own("Played"), at, rung="playing", seconds=0.0, duration=fields.get("duration", 0.05))
    file.describe(OUTCOME, {"success": True, "scores": {"share": float("nan")}})
    file.finish()


def test_numbers_that_are_none_take_nothing_else_down(tmp_path: Path) -> None:
    odd(tmp_path / "a.mcap", duration=float("nan"))
    odd(tmp_path / "b.mcap", seconds=float("inf"))
    record(tmp_path, 4)
    replay = Replay(tmp_path)
    pages = Asked(pages_app(replay))
    rows = {row["name"]: row["id"] for row in pages("GET", "/api/episodes").json["episodes"]}
    assert len(rows) == 3
    first, second = (f"/api/episodes/{rows[name]}" for name in ("a.mcap", "b.mcap"))
    told = pages("GET", first).json
    assert (told["meta"], told["outcome"]["scores"]) == ({"model_id": "m", "loss": None}, {"share": None})
    drawn = pages("GET", first + "/series").json
    assert (drawn["rungs"], drawn["chunks"]["/chunk/grip"][0]["t"][1]) == ([], None)
    for path, says in (
        (first + "/thumbnail", "cannot be decoded"), (second, "is damaged: it says that it is at second inf"),
        (second + "/series", "is damaged"),
    ):  # fmt: skip
        refused = pages("GET", path)
        assert (refused.status in (404, 422), says in refused.json["error"]) == (True, True), path
    long = say(pages, rows["a.mcap"], clip={"from": 0, "to": 10**400, "label": ""})
    assert (long.status, long.json["review"]["clips"][0]["seconds"][0]) == (200, 0.0)
    replay.close()


def test_what_is_no_recording_says_so_in_its_row_and_the_others_are_there(tmp_path: Path) -> None:
    says = wrong(tmp_path)
    replay = Replay(tmp_path)
    pages = Asked(pages_app(replay))
    rows = {row["name"]: row for row in pages("GET", "/api/episodes").json["episodes"]}
    assert len(rows) == len(says) + 2
    for name, text in says.items():
        assert rows[name]["state"] == "broken"
        assert text in rows[name]["error"]
        refused = pages("GET", f"/api/episodes/{rows[name]['id']}")
        assert (refused.status, refused.json["code"]) == (422, "recording_failed")
        assert text in refused.json["error"]
    # Its end is whole, so it has a row; what was asked of its middle says that it is damaged.
    assert rows["damaged.mcap"]["state"] == "whole"
    refused = pages("GET", f"/api/episodes/{rows['damaged.mcap']['id']}/series")
    assert refused.status == 422
    assert "damaged.mcap is damaged" in refused.json["error"]
    replay.close()


def test_a_file_that_was_cut_off_is_shown_to_where_it_ends_and_stays_as_it_is(tmp_path: Path) -> None:
    path = record(tmp_path, 40, task="cut")
    path.write_bytes(path.read_bytes()[:-60])
    before = path.read_bytes()
    replay = Replay(tmp_path)
    pages = Asked(pages_app(replay))
    (row,) = pages("GET", "/api/episodes").json["episodes"]
    assert (row["state"], row["task"]) == ("unfinished", "cut")
    told = pages("GET", f"/api/episodes/{row['id']}").json
    assert (told["state"], told["outcome"]["success"], told["cameras"]) == ("unfinished", True, ["wrist"])
    assert pages("GET", f"/api/episodes/{row['id']}/series").status == 200
    assert pages("GET", f"/api/episodes/{row['id']}/film", camera="wrist", t=1).status == 200
    assert path.read_bytes() == before
    replay.close()


def test_one_that_is_being_written_and_one_that_vanishes(tmp_path: Path) -> None:
    record(tmp_path, 12)
    recorder = Recorder(tmp_path, {"task": "now"})
    begin(recorder)
    sample(recorder, 0)
    replay = Replay(tmp_path)
    pages = Asked(pages_app(replay))
    rows = {row["state"]: row for row in pages("GET", "/api/episodes").json["episodes"]}
    assert rows["unfinished"]["task"] == "now"
    refused = pages("GET", f"/api/episodes/{rows['unfinished']['id']}")
    assert (refused.status, "is being recorded" in refused.json["error"]) == (422, True)
    recorder.ended(Outcome(True))
    assert pages("GET", f"/api/episodes/{rows['unfinished']['id']}").status == 200
    (tmp_path / rows["whole"]["name"]).unlink()
    refused = pages("GET", f"/api/episodes/{rows['whole']['id']}/series")
    assert (refused.status, "is gone" in refused.json["error"]) == (404, True)
    replay.close()


@pytest.mark.parametrize(
    ("path", "query", "status", "says"),
    [
        ("/api/episodes/ffffffffffffffff", {}, 404, "there is no recording"),
        ("/api/episodes/..%2f..%2fetc", {}, 404, "there is no GET"),
        ("/static/../app.py", {}, 404, "have no file"),
        ("/static/..%2fapp.py", {}, 404, "have no file"),
        ("/api/episodes/{}/film", {"camera": "/etc/passwd", "t": 0}, 404, "no camera '/etc/passwd'; it has: wrist"),
        ("/api/episodes/{}/film", {"camera": "wrist"}, 400, "t is "),
        ("/api/episodes/{}/film", {"camera": "wrist", "t": "nan"}, 400, "t is 'nan'"),
        ("/api/episodes/{}/series", {"from": "x"}, 400, "from is 'x'"),
    ],
)
def test_what_is_asked_wrongly_is_refused(pages: Any, path: str, query: Any, status: int, says: str) -> None:
    refused = pages("GET", path.format(ids(pages)["sort"]), **query)
    assert refused.status == status
    assert says in refused.json["error"]


def say(pages: Any, name: str, **what: Any) -> Any:
    return pages("POST", f"/api/episodes/{name}/review", what)


def test_what_is_said_is_kept_beside_the_recording_and_shown_as_it_was_written(pages: Any, folder: Path) -> None:
    name = ids(pages)["sort"]
    markup = "<img src=x onerror=alert(1)>"
    told = say(
        pages, name, words={"outcome": "partial", "items": 1, "items_total": 2, "note": markup}, tags={"late": True}
    )
    assert (told.status, told.json["lost"]) == (200, [])
    row = next(row for row in pages("GET", "/api/episodes").json["episodes"] if row["id"] == name)
    said = {key: row["review"][key] for key in ("outcome", "items", "items_total", "note", "tags")}
    assert said == {"outcome": "partial", "items": 1, "items_total": 2, "note": markup, "tags": ["late"]}
    late = say(pages, name, words={"note": "mine"}, seen={"note": ""})
    assert (late.status, late.json["lost"], late.json["review"]["note"]) == (409, ["note"], markup)
    assert read_review(folder / row["name"]).note == markup


def test_a_clip_is_a_range_of_the_recordings_own_messages(pages: Any, folder: Path) -> None:
    name = ids(pages)["stack <b>cubes</b>"]
    (clip,) = say(pages, name, clip={"from": 0.5, "to": 1.0, "label": "slip"}).json["review"]["clips"]
    assert (clip["seconds"], clip["label"]) == ([0.5, 1.0], "slip")
    row = next(row for row in pages("GET", "/api/episodes").json["episodes"] if row["id"] == name)
    with Episode(folder / row["name"]) as episode:
        seen = [said.message.seconds for said in episode.messages(["/observed"], *clip["at"])]
    assert seen == pytest.approx([number * 0.05 for number in range(10, 21)][: len(seen)])
    assert len(seen) in (10, 11)
    assert say(pages, name, dropped=[clip["id"]]).json["review"]["clips"] == []


def test_a_clip_is_cut_out_as_mp4(pages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    name = ids(pages)["stack <b>cubes</b>"]
    told = pages("GET", f"/api/episodes/{name}/clip.mp4", **{"from": 0.5, "to": 1.5})
    assert (told.status, told.headers["content-type"]) == (200, "video/mp4")
    assert told.headers["content-disposition"].endswith('_0.5-1.5s.mp4"')
    assert not list(tmp_path.glob("offboard-clip-*"))
    with av.open(io.BytesIO(told.body)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 30
    known = [picture(number).astype(int) for number in range(48)]
    shown = [int(np.argmin([np.abs(frame.astype(int) - each).mean() for each in known])) for frame in frames]
    assert shown == pytest.approx([(0.5 + number / 30) / 0.05 for number in range(30)], abs=1.1)
    assert shown[0] in (9, 10)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ({"words": {"outcome": "great"}}, "'great'"),
        ({"words": []}, "words is"),
        ({"tags": {"": True}}, "a tag is a word"),
        ({"dropped": [3]}, "a list of texts"),
        ({"clip": {"from": 1, "to": 0.5}}, "ends after it begins"),
        ({"clip": {"from": "1", "to": 2}}, "a clip has from, to and a label"),
        ({"clip": {"from": 1, "to": float("nan")}}, "ends after it begins"),
    ],
)
def test_what_cannot_be_said_is_refused(pages: Any, folder: Path, what: Any, says: str) -> None:
    refused = say(pages, ids(pages)["sort"], **what)
    assert refused.status == 400
    assert says in refused.json["error"]
    assert not list(folder.glob("*.json"))


def test_only_json_of_a_bounded_size_is_read(pages: Any) -> None:
    path = f"/api/episodes/{ids(pages)['sort']}/review"
    assert pages("POST", path, b"note=x", headers={"content-type": "text/plain"}).status == 400
    assert pages("POST", path, b"{", headers={"content-type": "application/json"}).status == 400
    assert "larger than" in pages("POST", path, b"x" * (1 << 18) + b"x").json["error"]
    assert pages("POST", path, {}, headers={"origin": "http://evil.example"}).status == 403


def test_a_full_disk_is_said_and_nothing_is_lost(pages: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = ids(pages)["sort"]
    say(pages, name, words={"note": "before"})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    refused = say(pages, name, words={"note": "after"}, seen={"note": "before"})
    assert refused.status == 422
    assert "No space left on device; what was said before is still there" in refused.json["error"]
    row = next(row for row in pages("GET", "/api/episodes").json["episodes"] if row["id"] == name)
    assert row["review"]["note"] == "before"


def test_whoever_goes_while_a_clip_is_made_leaves_nothing(
    pages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    name = ids(pages)["stack <b>cubes</b>"]
    stopped: list[bool] = []

    def endless(film: Any, cameras: Any, start: float, end: float, path: Path, gone: Any) -> None:
        until(gone, "it is known that nobody waits")
        stopped.append(True)

    monkeypatch.setattr("offboard_client.pages.replay.write_clip", endless)
    with pytest.raises(IndexError):  # nothing was sent
        pages.left(f"/api/episodes/{name}/clip.mp4", **{"from": 0, "to": 1})
    assert stopped
    assert not list(tmp_path.glob("offboard-clip-*"))


def test_without_a_recording_there_is_nothing_to_serve(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not there: give the folder"):
        Replay(tmp_path / "none")
    with pytest.raises(ConfigurationError, match=r"holds no recording \(\*\.mcap\)"):
        Replay(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="is no folder"):
        Replay(tmp_path / "file")


def test_what_came_of_an_evaluations_trials_is_known_until_somebody_says_otherwise(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    judged, other = record(folder, 4, task="judged"), record(folder, 4, task="other")
    replay = Replay(folder)
    pages = Asked(pages_app(replay))

    def rows() -> dict[str, Any]:
        return {row["task"]: row for row in pages("GET", "/api/episodes").json["episodes"]}

    assert [row["trial"] for row in rows().values()] == [None, None]
    with TrialLog(tmp_path / "trials.jsonl", Plan(("m",), (1, 2), seed=0)) as log:
        log.append(Trial("m", 1, "partial", 0.75, ("slip",), "it fell", recording=judged.name, items=3, items_total=4))
        assert rows()["judged"]["trial"] == {
            "outcome": "partial", "score": 0.75, "items": 3, "items_total": 4, "tags": ["slip"], "note": "it fell",
        }  # fmt: skip
        assert rows()["other"]["trial"] is None
        log.append(Trial("m", 2, "stall", recording=other.name))
        log.annul(0, "the light went out")
    found = rows()
    assert (found["judged"]["trial"]["outcome"], found["other"]["trial"]["outcome"]) == ("annulled", "stall")
    assert pages("GET", f"/api/episodes/{found['other']['id']}").json["trial"]["outcome"] == "stall"
    (tmp_path / "trials.jsonl").write_text("{")
    assert not any(row["trial"] for row in rows().values()), "a log that is none of ours takes nothing from the list"
    (tmp_path / "trials.jsonl").write_text("{}\n")
    assert not any(row["trial"] for row in rows().values())
    replay.close()


def test_a_blind_trial_that_was_moved_away_from_its_evaluation_names_no_model(tmp_path: Path) -> None:
    for number, facts in enumerate(({"blind": True}, {"blind": False}, {}), 1):
        recorder = Recorder(tmp_path, {"model": "secret one", "trial": number, "start": 1, **facts})
        begin(recorder, number, model_id="secret one")
        tick(recorder, 0, {"target_grip": np.array([0.1])})
        recorder.ended(Outcome(None, failure=("policy_failed", "secret one raised")))
    replay = Replay(tmp_path)
    pages = Asked(pages_app(replay))
    said = {
        row["number_of_trial"]: (row["model"], str((row, pages("GET", "/api/episodes/" + row["id"]).json)))
        for row in pages("GET", "/api/episodes").json["episodes"]
    }
    assert said[1][0] == "not named: its evaluation was blind, and is not found"
    assert "secret" not in said[1][1]
    assert (said[2][0], said[3][0]) == ("secret one", "secret one")
    replay.close()


def test_a_blind_evaluation_is_blind_here_too_until_somebody_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recordings").mkdir()
    plan = Plan(("secret one", "secret two"), (1, 2), seed=0, blind=True)
    label = {model: label for label, model in plan.labels.items()}
    command = "offboard evaluate sim localhost --models 'secret one,secret two'"
    recorder = Recorder(tmp_path / "recordings", {"model": "secret one", "command": command})
    begin(recorder, model_id="secret one", checkpoint_path="/secret")
    tick(recorder, 0, {"target_grip": np.array([0.1])})
    recorder.ended(Outcome(None, failure=("policy_failed", "secret one raised")))
    (path,) = recorder.recorded.files
    replay = Replay(tmp_path)
    pages = Asked(pages_app(replay))

    def told() -> tuple[dict[str, Any], str]:
        (row,) = pages("GET", "/api/episodes").json["episodes"]
        about = pages("GET", f"/api/episodes/{row['id']}").json
        return row, f"{row} {about}"

    assert "secret" in told()[1], "nothing says that it is blind"
    with TrialLog(tmp_path / "trials.jsonl", plan) as log:
        log.append(Trial("secret one", 1, "error", note="secret one raised", recording=path.name))
        row, said = told()
        monkeypatch.chdir(tmp_path / "recordings")
        (tmp_path / "a" / "links").mkdir(parents=True)
        (tmp_path / "a" / "links" / "one.mcap").symlink_to(path)
        for named in (Path(), tmp_path / "a" / "links"):
            assert "secret" not in str(Replay(named).library.rows()), named
        (tmp_path / "a" / "links" / "one.mcap").unlink()
        assert "secret" not in said
        assert (row["model"], row["trial"]["note"]) == (label["secret one"], f"{label['secret one']} raised")
        assert row["failure"] == ["policy_failed", f"{label['secret one']} raised"]
        log.reveal()
    row, said = told()
    assert row["model"] == "secret one"
    assert command in said
    replay.close()


def test_folders_within_are_looked_through_and_a_damaged_review_is_a_row_of_its_own(tmp_path: Path) -> None:
    within = tmp_path / "model a"
    within.mkdir()
    path = record(within, 4)
    review_path(path).write_text("{")
    replay = Replay(tmp_path)
    (row,) = Asked(pages_app(replay))("GET", "/api/episodes").json["episodes"]
    assert row["name"] == f"model a/{path.name}"
    assert "is no review that this offboard reads" in row["review"]["error"]
    replay.close()
