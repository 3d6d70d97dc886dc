"""``offboard run … --output-dir DIR``, from its command line to the files."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from offboard_client import cli
from offboard_client.recording import Episode, Recorder, decode_image, read_observation

if importlib.util.find_spec("offboard_core") is None or importlib.util.find_spec("mujoco") is None:
    pytest.skip("needs a server of ours and the simulation", allow_module_level=True)

from offboard_core import InferenceServer


def still(observation: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"target_joints": np.array(observation["robot_state.q"])}] * 3


def run(server: InferenceServer, *more: str) -> int:
    return cli.main(["run", "sim", f"127.0.0.1:{server.port}", "--seconds", "0.5", *more])


def test_each_episode_of_a_run_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[dict[str, Any]] = []

    def watched(observation: dict[str, Any]) -> list[dict[str, Any]]:
        seen.append(observation)
        return still(observation)

    folder = tmp_path / "new" / "folder"
    with InferenceServer({"it": lambda: watched}, port=0, fps=10.0) as server:
        assert run(server, "--episodes=2", "--seed=4", f"--output_dir={folder}") == 0
    assert f"recorded 2 episodes in {folder}" in capsys.readouterr().err.replace("\n", " ")
    first, second = sorted(folder.iterdir())
    with Episode(first) as episode:
        assert (episode.about["number"], episode.about["seed"], episode.outcome["success"]) == (1, 4, False)
        facts = episode.about["run"]
        assert facts["command"].startswith("offboard")
        assert facts["robot"]["control_period"] == episode.about["control_period"]
        assert facts["limits"]
        assert facts["playing"]["chunks"] == "sequential"
        assert facts["versions"].keys() >= {"offboard-client", "offboard-core"}
        assert episode.about["meta"]["action_fps"] == 10.0
        (answer, other) = episode.messages(["/answer"])
        sent = read_observation(answer.message)
        assert np.array_equal(sent["robot_state.q"], seen[0]["robot_state.q"])
        for camera in ("wrist", "exterior"):
            picture = decode_image(next(episode.messages([f"/sent/{camera}"])).message.data)
            assert np.array_equal(picture, seen[0][f"image.{camera}"])
        assert other.at > answer.at
        assert [said.message.text for said in episode.messages(["/observation/task"])] == [sent["task"]]
        assert len(list(episode.messages(["/played"]))) == 5
    with Episode(second) as episode:
        assert episode.about["number"] == 2


def test_a_recording_that_fails_ends_the_run_only_where_one_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from offboard_client.errors import RecordingFailed

    def full(self: Recorder, file: Any, sample: Any) -> None:
        raise RecordingFailed("it.mcap cannot be written: No space left on device")

    monkeypatch.setattr(Recorder, "_sample", full)
    tmp_path.joinpath("0.mcap").write_text("what is no recording keeps nobody from recording")
    with InferenceServer({"it": lambda: still}, port=0, fps=10.0) as server:
        assert run(server, "--episodes=2", f"--output-dir={tmp_path}") == 0
        err = capsys.readouterr().err.replace("\n", " ")
        assert "episode 2/2" in err
        assert "2 episodes not to the end: it.mcap cannot be written: No space left on device" in err
        assert run(server, "--episodes=2", f"--output-dir={tmp_path}", "--require-recording") == 1
        err = capsys.readouterr().err.replace("\n", " ")
        assert "episode 2/2" not in err
        assert "recording_failed: the run has ended, for a recording was required: it.mcap cannot be" in err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--output-dir=/proc/none"], "no folder for recordings can be made at /proc/none"),
        (["--output-dir=x", "--record-hz=0"], "--record-hz is 0; expected more than 0"),
    ],
)
def test_what_cannot_be_recorded_is_said_before_the_arm_moves(
    options: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with InferenceServer({"it": lambda: still}, port=0, fps=10.0) as server:
        assert run(server, *options) in (1, 2)
    err = capsys.readouterr().err
    assert says in err.replace("\n", " ")
    assert "episode 1" not in err


def test_without_its_libraries_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from offboard_client.errors import ConfigurationError

    for name in [name for name in sys.modules if name.startswith("offboard_client.recording")]:
        monkeypatch.delitem(sys.modules, name)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "mcap" else find(name, *more))
    with pytest.raises(ConfigurationError, match=r"here \(mcap\): pip install 'offboard-client\[record\]'"):
        importlib.import_module("offboard_client.recording")
