"""``offboard compare``: recorded observations sent again."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filmed import FilmedRobot, begin, picture, play, record, sample
from offboard_client import cli
from offboard_client.play import Agreement, Frames, Outcome
from offboard_client.recording import Episode, Recorder, read_questions
from robot_fakes import FakeSession
from robot_fakes import rows as fake_rows

if importlib.util.find_spec("offboard_core") is None:
    pytest.skip("needs a server of ours", allow_module_level=True)

from offboard_client.session import InferenceClient
from offboard_client.terminal import emit_json
from offboard_core import InferenceServer
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins

Observation = dict[str, Any]


class Model:
    """Answers by what it is asked, the picture included; keeps what that was."""

    def __init__(self, off: float = 0.0, at: int = 0, names: tuple[str, ...] = ("target_pose",)) -> None:
        self.off, self.at, self.names, self.seen = off, at, names, list[Observation]()

    def __call__(self, observation: Observation) -> list[Observation]:
        self.seen.append(observation)
        pose = np.array(observation["robot_state.ee_pose"], np.float64)
        pose[0] += float(observation["image.wrist"].mean()) / 1e6 + (self.off if len(self.seen) > self.at else 0.0)
        return [dict.fromkeys(self.names, pose + np.eye(7)[1] * step / 1000) for step in range(3)]


def recording(folder: Path, model: Model) -> Path:
    """An episode that was played with this model, over a server."""
    recorder = Recorder(folder, {"command": "test"})
    with (
        InferenceServer(lambda: model, port=0, fps=10.0) as server,
        InferenceClient("127.0.0.1", server.port) as client,
        client.new_session() as session,
    ):
        robot = FilmedRobot()
        robot.actions = frozenset({"target_pose"})
        play(session, recorder, robot=robot)
    return recorder.recorded.files[0]


def compare(path: Path, *models: Model, options: tuple[str, ...] = ()) -> int:
    served = {f"m{number}": (lambda model=model: model) for number, model in enumerate(models)}
    with InferenceServer(served, port=0, fps=10.0) as server:
        urls = [f"ws://127.0.0.1:{server.port}/api/v1/session/{name}" for name in served]
        return cli.main(["compare", str(path), *urls, *options])


def found(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out)


def test_the_same_model_answers_the_same_to_the_bit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, again = Model(), Model()
    path = recording(tmp_path, first)
    assert compare(path, again, options=("--json",)) == 0
    said = found(capsys)
    assert (said["verdict"], said["compared"], said["same"]) == ("exact", len(first.seen), len(first.seen))
    assert len(first.seen) > 10
    for one, other in zip(first.seen, again.seen, strict=True):
        assert one.keys() == other.keys()
        assert np.array_equal(one["image.wrist"], other["image.wrist"])
    assert compare(path, Model()) == 0
    assert "the recording and" in (out := capsys.readouterr().out.replace("\n", " "))
    assert "the same to the bit" in out


def test_where_it_differs_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recording(tmp_path, Model())
    assert compare(path, Model(off=0.25, at=3), options=("--json",)) == 1
    said = found(capsys)
    pose = said["names"]["target_pose"]
    assert said["verdict"] == "different"
    assert pose["first"] == {"exchange": 3, "step": 0}
    assert pose["exact"] == 3
    assert pose["largest"] == pytest.approx(0.25)
    assert len(pose["by_step"]["largest"]) == 3
    assert pose["mean"] == pytest.approx(0.25 * (said["compared"] - 3) / 7 / said["compared"])
    assert compare(path, Model(off=0.25, at=3), options=("--tolerance=0.2",)) == 1
    assert "exchange 4, step 0" in capsys.readouterr().out
    assert compare(path, Model(off=0.25, at=3), options=("--tolerance=0.3", "--json")) == 0
    said = found(capsys)
    assert (said["verdict"], said["exact"]) == ("within", 3)
    assert said["names"]["target_pose"]["within"] == said["compared"] - 3


def test_two_servers_are_compared_with_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recording(tmp_path, Model(off=0.01))
    assert compare(path, Model(), Model(), options=("--json",)) == 0
    assert found(capsys)["verdict"] == "exact"
    assert compare(path, Model(), Model(names=("target_pose", "mine")), options=("--json",)) == 1
    said = found(capsys)
    assert said["names"]["target_pose"]["exact"] == said["compared"]
    assert said["names"]["mine"]["form"] == said["compared"]


def test_every_exchange_is_in_the_table_or_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recording(tmp_path, Model())

    class Silent(Model):
        def __call__(self, observation: Observation) -> Any:
            rows = super().__call__(observation)
            number = len(self.seen)
            return None if number <= self.off else rows[:2] if number <= 5 else rows

    assert compare(path, Silent(2), Silent(1), options=("--json",)) == 1
    said = found(capsys)
    assert (said["both"], said["kinds"]) == ({"nothing new": 1}, {"nothing new, rows": 1})
    assert said["names"]["target_pose"]["exchanges"] == said["compared"] - 2
    assert compare(path, Silent(2), Silent(1)) == 1
    out = capsys.readouterr().out.replace("\n", " ")
    assert "1 time both said nothing new (null)" in out
    assert "said nothing new (null), and" in out
    assert compare(path, Silent()) == 1
    assert (
        "target_pose has another form in 5 exchanges: 3 steps of 7 numbers against 2 steps of 7 numbers in the first"
        in capsys.readouterr().out.replace("\n", " ")
    )


def test_two_models_of_a_server_with_one_place_take_turns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else the second would wait for the first."""
    path = recording(tmp_path, Model())
    assert compare(path, Model(), Model(off=0.1), options=("--json", "--tolerance=0.01", "--wait=20")) == 1
    said = found(capsys)
    assert said["names"]["target_pose"]["largest"] == pytest.approx(0.1)


def test_a_server_that_fails_is_no_agreement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recording(tmp_path, Model())
    again = Model()

    def sometimes(observation: Observation) -> Any:
        if len(again.seen) == 2:
            again.seen.append(observation)
            raise ValueError("out of memory")
        return again(observation)

    with InferenceServer(lambda: sometimes, port=0, fps=10.0) as server:
        assert cli.main(["compare", str(path), f"127.0.0.1:{server.port}", "--json"]) == 1
    said = found(capsys)
    assert said["asked"] == said["compared"] + 1
    assert "policy_failed" in next(iter(said["failures"]))


def test_what_cannot_be_sent_again_is_one_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def error(path: Path, *more: str) -> str:
        with InferenceServer({"m": Model}, port=0, fps=10.0) as server:
            assert cli.main(["compare", str(path), f"ws://127.0.0.1:{server.port}{more[0] if more else ''}"]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        return said.err.replace("\n ", "")

    whole = recording(tmp_path / "a", Model())
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole.read_bytes()[:40])
    assert "cut.mcap" in error(cut)
    other = tmp_path / "other.mcap"
    other.write_bytes(b"PNG")
    assert "other.mcap" in error(other)
    recorder = Recorder(tmp_path / "b", {}, sent=False)
    begin(recorder)
    sample(recorder, 0, asked=True)
    recorder.ended(Outcome(True))
    assert "recorded with --no-record-sent" in error(recorder.recorded.files[0])
    assert "m" in (said := error(whole, "/api/v1/session/gone"))
    assert "gone" in said


def test_another_robots_names_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recording(tmp_path, Model())
    with InferenceServer({"s": from_flags(Plugins.discover(), vendor="scripted")}, port=0) as server:
        assert cli.main(["compare", str(path), f"127.0.0.1:{server.port}"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "what was recorded is not what" in said
    assert "grip" in said
    assert "image.wrist, robot_state.ee_pose, robot_state.q" in said


def test_pictures_and_rows_are_read_as_they_were(tmp_path: Path) -> None:
    path = record(tmp_path, periods=12)
    with Episode(path) as episode:
        questions = list(read_questions(episode, frames=True))
    assert [question.number for question in questions] == [0, 1, 2]
    for question in questions:
        number = 4 * question.number
        assert np.array_equal(question.observation["image.wrist"], picture(number))
        assert question.rows is not None
        assert len(question.rows) == 2
        (frame,) = question.frames
        assert frame.seconds == pytest.approx(number * 0.05)
        assert np.array_equal(frame.observation["image.wrist"], picture(number))
        q = frame.observation["robot_state.q"]
        assert (q.dtype, q.shape) == (np.float32, (7,))
        assert np.array_equal(q, question.observation["robot_state.q"])


# -- the arithmetic --------------------------------------------------------------------------------


def rows(*values: Any, name: str = "a", times: bool = True) -> list[dict[str, Any]]:
    return [
        {"action": {name: np.asarray(value, np.float32)}, **({"timestamp": i / 10} if times else {})}
        for i, value in enumerate(values)
    ]


def verdict(one: Any, other: Any, tolerance: float | None = None) -> str:
    agreement = Agreement(tolerance)
    agreement.add(0, one, other)
    return agreement.verdict


def test_what_is_the_same() -> None:
    one = rows([1.0], [2.0])
    wide = [{**row, "action": {"a": row["action"]["a"].astype(np.float64)}} for row in one]
    assert verdict(one, rows([1.0], [2.0])) == "exact"
    assert verdict(None, None) == verdict([], []) == "exact"
    assert verdict(one, wide) == "different"  # not the same bits
    assert verdict(one, wide, 0.0) == "within"
    assert verdict(rows([0.0]), rows([-0.0])) == "different"
    assert verdict(rows([0.0]), rows([-0.0]), 0.0) == "within"
    for other in (None, [], rows([1.0]), rows([1.0], [2.0], times=False), rows([1.0], [2.0], name="b")):
        assert verdict(one, other, 100.0) == "different", other
    assert verdict(one, rows([1.0, 1.0], [2.0, 2.0]), 100.0) == "different"
    assert Agreement().verdict == "nothing"


def test_the_first_row_that_differs_is_beyond_the_tolerance() -> None:
    agreement = Agreement(0.1)
    agreement.add(0, rows([1.0], [2.0], [3.0]), rows([1.05], [2.0], [3.0]))
    agreement.add(1, rows([1.0], [2.0], [3.0]), rows([1.05], [2.0], [3.5]))
    found = agreement.names["a"]
    assert (found.within, found.exact, found.differs, found.first) == (1, 0, 1, (1, 2))
    assert (found.largest, found.largest_at) == (pytest.approx(0.5), (1, 2))
    assert agreement.names["timestamp"].exact == 2


def test_the_largest_numbers_differ_by_no_number_and_the_report_has_it_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    agreement = Agreement(0.1)
    for far, other in ((1.7e308, -1.7e308), (-1.7e308, 0.0)):
        agreement.add(0, [{"action": {"a": np.array([far, far])}}], [{"action": {"a": np.array([other, 0.0])}}])
    assert agreement.verdict == "different"
    emit_json(agreement.as_dict())
    found = json.loads(capsys.readouterr().out)["names"]["a"]
    assert (found["largest"], found["first"]) == (None, {"exchange": 0, "step": 0})


def test_what_a_model_was_told_of_before_is_rebuilt_as_it_was(tmp_path: Path) -> None:
    """A model that looks back is observed for in between; those frames are not what it was asked about."""
    session: Any = FakeSession(fake_rows(0.0, 0.1, 0.2, 0.3), action=("target_pose",))
    names = ["image.wrist", "robot_state.q"]
    session.metadata |= {"context": ["history"], "history": {"offsets_sec": [-0.2, -0.1], "observation": names}}
    recorder = Recorder(tmp_path, {})
    robot = FilmedRobot()
    robot.actions = frozenset({"target_pose"})
    play(session, recorder, robot=robot)
    (path,) = recorder.recorded.files
    frames, compared = Frames(session.metadata), 0
    with Episode(path) as episode:
        for question, sent in zip(read_questions(episode, frames=True), session.observations, strict=True):
            for frame in question.frames:
                frames.keep(frame.observation, frame.seconds)
            assert np.array_equal(question.observation["image.wrist"], sent["image.wrist"])
            history = frames.told(question.frames[-1].seconds)["offboard.history"]
            for one, other in zip(history, sent["offboard.history"], strict=True):
                assert one.keys() == other.keys() == set(names)
                for name in names:
                    assert one[name].dtype == other[name].dtype
                    assert np.array_equal(one[name], other[name])
                    compared += 1
    assert compared > 100
