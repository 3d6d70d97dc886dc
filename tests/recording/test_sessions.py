"""What a server records of its sessions: both sides of the codec, and nothing that costs a robot an answer."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filmed import picture
from halving import Halves, Plugin, think
from offboard_client import InferenceClient
from offboard_client.errors import OffboardError, PolicyFailed, RecordingFailed
from offboard_client.recording import Episode, decode_image, is_finished, read_observation, read_rows
from offboard_client.wire import decode
from offboard_core import CodecEntry, ConfigurationError, InferenceServer, hookimpl
from offboard_core.recording import RecordingOptions, SessionRecorder
from offboard_core.testing import ObserverLaws
from offboard_process import in_process, serving
from puppets import Puppet, source
from robots import get_json
from waits import until

TOKEN = "the-token-that-nobody-reads"


def served(folder: Path, **more: Any) -> InferenceServer:
    models = {"a": source({"it": lambda: Puppet(think)}, codec="halves", plugin=Plugin())}
    return InferenceServer(models, port=0, recording_dir=folder, **more)


def asked(number: int) -> dict[str, Any]:
    return {"image.wrist": picture(number), "robot_state.q": np.full(7, number, np.float64), "task": "stack"}


def session_of(server: InferenceServer, numbers: Any, **more: Any) -> str:
    with InferenceClient(server.host, server.port, **more) as client, client.new_session() as session:
        for number in numbers:
            session.infer(asked(number))
        return session.session_id


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.mcap"))


def test_both_sides_of_the_codec_are_recorded_to_the_bit(tmp_path: Path) -> None:
    with (
        served(tmp_path, auth_token=TOKEN) as server,
        InferenceClient(server.host, server.port, auth_token=TOKEN) as client,
        client.new_session() as session,
    ):
        rows = [session.infer(asked(number)) for number in (1, 2)]
        with pytest.raises(PolicyFailed):
            session.infer(asked(9))
        meta, name = session.metadata, session.session_id
    (path,) = files(tmp_path)
    assert path.name.endswith(f"-{name[:8]}.mcap")
    data = path.read_bytes()
    assert TOKEN.encode() not in data
    with Episode(path) as episode:
        about, outcome = episode.about, episode.outcome
        assert (about["meta"]["spec_hash"], about["action_period"]) == (meta["spec_hash"], 0.1)
        assert about["run"]["task"] == "stack"
        of_session = about["session"]
        assert of_session.pop("client").startswith("127.0.0.1:")
        assert of_session == {"id": name[:8], "model": "it", "replica": 0, "codec": "puppet.halves"}
        assert (outcome["exchanges"], outcome["failures"], outcome["missed"], outcome["success"]) == (2, 1, 0, None)

        def told(topic: str) -> list[Any]:
            return [said.message for said in episode.messages([topic])]

        for number, sent, seen in zip((1, 2, 9), told("/sent/wrist"), told("/seen/pixels"), strict=True):
            np.testing.assert_array_equal(decode_image(sent.data), picture(number))
            np.testing.assert_array_equal(decode_image(seen.data), picture(number)[::2, ::2])
        for number, degrees in zip((1, 2, 9), told("/input/degrees"), strict=True):
            assert list(degrees.values) == np.degrees(np.full(7, number, np.float64)).tolist()
        assert [said.text for said in told("/input/words")] == ["stack"]
        answers, exchanges = told("/answer"), told("/exchange")
        for answer, exchange, got, number in zip(answers[:2], exchanges[:2], rows, (1, 2), strict=True):
            np.testing.assert_equal(
                [dict(row["action"]) for row in read_rows(answer)], [dict(r["action"]) for r in got]
            )
            assert [row["timestamp"] for row in read_rows(answer)] == [0.0, 0.1, 0.2]
            made = np.stack([row["action"]["action"] for row in decode(exchange.rows)])
            np.testing.assert_array_equal(made, think(None, Halves().encode(asked(number))).action)
            assert read_observation(answer)["robot_state.q"].tolist() == [number] * 7
            assert decode(exchange.inputs)["words"] == "stack"
            assert 0 < exchange.infer_ms < exchange.total_ms
        assert [one.number for one in exchanges] == [1, 2, 3]
        assert [one.error for one in exchanges] == [one.failure for one in answers] == ["", "", "policy_failed"]
        assert exchanges[0].robot_ms == -1
        assert [list(told("/output/action")[0].offsets), told("/chunk/target_joints")[0].width] == [[0, 0.1, 0.2], 7]


def test_each_session_has_a_file_which_ends_with_it(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        first, second = session_of(server, [1]), session_of(server, [1, 2])
        until(
            lambda: len(files(tmp_path)) == 2 and all(map(is_finished, files(tmp_path))),
            "the sessions are over, and their files whole",
        )
        assert {path.stem[-8:] for path in files(tmp_path)} == {first[:8], second[:8]}
        with InferenceClient(server.host, server.port) as client, client.new_session():
            pass
        observed = get_json(server, "/api/v1/status")["observers"]["recording"]
    assert observed == {"seen": 3, "dropped": 0, "failed": 0}
    assert len(files(tmp_path)) == 2, "nothing was said in the third"


def test_images_may_be_left_out(tmp_path: Path) -> None:
    recorder = SessionRecorder(RecordingOptions(dir=tmp_path, sent=False, seen=False))
    models = {"a": source({"it": lambda: Puppet(think)}, codec="halves", plugin=Plugin())}
    with InferenceServer(models, port=0, observers=[recorder]) as server:
        session_of(server, [1])
    (path,) = files(tmp_path)
    with Episode(path) as episode:
        assert not [topic for topic in episode.topics if topic.startswith(("/sent", "/seen"))]


def test_two_servers_record_into_one_folder_and_finish_what_a_killed_one_left(tmp_path: Path) -> None:
    script = Path(__file__).parent / "recorded_server.py"
    with subprocess.Popen([sys.executable, script, tmp_path], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            port = int(child.stdout.readline())
            with InferenceClient("127.0.0.1", port) as client, client.new_session() as session:
                asking = {"robot_state.q": np.zeros(7)}
                until(lambda: session.infer(asking) and _flushed(tmp_path), "a second was written")
                (left,) = files(tmp_path)
                with served(tmp_path) as server:
                    session_of(server, [1])
                assert not is_finished(left), "it is being written"
                child.send_signal(signal.SIGKILL)
                child.wait()
        finally:
            child.kill()
    assert len(files(tmp_path)) == 2
    hour_ago = time.time() - 3600  # as if nobody had written to it since
    os.utime(left, (hour_ago, hour_ago))
    with served(tmp_path):
        until(lambda: is_finished(left), "what a killed server has left is finished")
    with Episode(left) as episode:
        assert episode.outcome["failure"][0] == "killed"
        assert len(list(episode.messages(["/exchange"]))) > 0


def _flushed(folder: Path) -> bool:
    return any(path.stat().st_size > 5000 for path in files(folder))


def test_a_full_disk_ends_the_recording_of_one_session_and_no_inference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from offboard_client.recording import RecordingFile

    full, write = [True], RecordingFile.write

    def written(file: Any, topic: str, *arguments: Any, **fields: Any) -> None:
        if full[0] and topic == "/exchange":
            raise RecordingFailed(f"{file.path.name} cannot be written: No space left on device")
        write(file, topic, *arguments, **fields)

    monkeypatch.setattr(RecordingFile, "write", written)
    with caplog.at_level(logging.ERROR), served(tmp_path) as server:
        first = session_of(server, [1, 2, 3])
        until(lambda: get_json(server, "/api/v1/status")["observers"]["recording"]["seen"] == 3, "it saw all")
        full[0] = False
        second = session_of(server, [1])
    said = [one.getMessage() for one in caplog.records if "not recorded any further" in one.getMessage()]
    assert len(said) == 1, "once"
    assert first[:8] in said[0]
    assert "No space left on device" in said[0]
    whole = {path.stem[-8:]: is_finished(path) for path in files(tmp_path)}
    assert whole == {first[:8]: False, second[:8]: True}


class Tensor:
    """What has no form on the wire."""

    def __repr__(self) -> str:
        return "a tensor"


def test_what_a_codec_makes_that_has_no_form_on_the_wire_is_said_in_words(tmp_path: Path) -> None:
    class Odd(Halves):
        def encode(self, observation: Any) -> dict[str, Any]:
            return {**super().encode(observation), "odd": Tensor(), "far": np.array([np.nan, np.inf])}

    plugin = Plugin()
    plugin.offboard_codecs = hookimpl(lambda: iter([CodecEntry(name="halves", summary="", factory=lambda *_: Odd())]))  # type: ignore[method-assign]
    models = {"a": source({"it": lambda: Puppet(think)}, codec="halves", plugin=plugin)}
    with InferenceServer(models, port=0, recording_dir=tmp_path) as server:
        session_of(server, [1])
    with Episode(files(tmp_path)[0]) as episode:
        (said,) = episode.messages(["/exchange"])
        assert decode(said.message.inputs)["odd"] == "a tensor"


def test_a_folder_that_cannot_be_made_keeps_the_server_from_starting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = in_process("serve", "--vendor", "scripted", "--port", 0, "--recording-dir", tmp_path / "file" / "in")
    assert done.returncode == 1
    assert f"no recordings can be written into {tmp_path / 'file' / 'in'}: Not a directory" in done.stderr


def test_without_the_extra_it_is_said_before_the_server_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [
        name for name in sys.modules if name.startswith(("offboard_core.recording", "offboard_client.recording"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"not installed here \(av, .*pip install 'offboard-client\[record\]'"):
        InferenceServer(lambda observation: observation, port=0, recording_dir=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_command_records(tmp_path: Path) -> None:
    with serving("--vendor", "scripted", "--recording-dir", tmp_path, "--core.recording.sent", "false") as (
        process,
        info,
    ):
        with InferenceClient(info["url"]) as client, client.new_session() as session:
            shapes = session.metadata["observation"].items()
            with pytest.raises(OffboardError):  # no cube is there
                session.infer({name: np.zeros(said["shape"]) for name, said in shapes} | {"task": "stack the red"})
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
        assert process.returncode == 0
    assert "recorded 1 exchange in" in err
    (path,) = files(tmp_path)
    with Episode(path) as episode:
        assert "serve --vendor scripted" in episode.about["run"]["command"]
        assert not [topic for topic in episode.topics if topic.startswith("/sent")]


def test_a_picture_that_the_codec_hands_on_is_written_once(tmp_path: Path) -> None:
    with InferenceServer(lambda o: {"target_joints": o["robot_state.q"]}, port=0, recording_dir=tmp_path) as server:
        session_of(server, [1])
    with Episode(files(tmp_path)[0]) as episode:
        assert not [topic for topic in episode.topics if topic.startswith("/seen")]
        (said,) = episode.messages(["/exchange"])
        assert json.loads(said.message.unchanged) == {"image.wrist": "image.wrist"}


@pytest.mark.parametrize("also", ["--core.recording.dir"])
def test_the_short_option_and_the_long_one_are_one(tmp_path: Path, also: str) -> None:
    done = in_process("serve", "--vendor", "scripted", "--recording-dir", tmp_path, also, tmp_path)
    assert done.returncode == 2
    assert "--recording-dir is short for --core.recording.dir" in done.stderr


@dataclass
class Folders:
    folder: Path
    made: int = 0


class TestLaws(ObserverLaws):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.folders = Folders(tmp_path)

    def observer(self) -> SessionRecorder:
        self.folders.made += 1
        return SessionRecorder(RecordingOptions(dir=self.folders.folder / str(self.folders.made)))
