"""``offboard run … --shadow``: a second model that is asked the same and drives nothing."""

from __future__ import annotations

import importlib.util
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from offboard_client import cli
from waits import PATIENCE, until

if importlib.util.find_spec("offboard_core") is None or importlib.util.find_spec("mujoco") is None:
    pytest.skip("needs a server of ours and the simulation", allow_module_level=True)

from offboard_core import InferenceServer


def still(observation: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"target_joints": np.array(observation["robot_state.q"])}] * 3


def run(server: InferenceServer, shadow: str, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    capsys.readouterr()
    address = f"127.0.0.1:{server.port}"
    assert cli.main(["run", "sim", address, "--seconds", "1.5", "--json", f"--shadow={shadow}", *more]) == 0
    return json.loads(capsys.readouterr().out)


def lost(report: dict[str, Any]) -> dict[str, Any]:
    return {each["observer"]: each for each in report["losses"]}


def test_a_shadow_is_asked_the_same_and_drives_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    asked, seen = list[Any](), list[Any]()

    def drives(observation: dict[str, Any]) -> Any:
        asked.append(observation)
        return still(observation)

    def shadow(observation: dict[str, Any]) -> Any:
        seen.append(observation)
        return [{"target_joints": np.array(observation["robot_state.q"]) + 0.01}] * 3

    with (
        InferenceServer(lambda: drives, port=0, fps=10.0) as one,
        InferenceServer(lambda: shadow, port=0, fps=10.0) as other,
    ):
        report = run(one, f"127.0.0.1:{other.port}", capsys)
        said = report["shadow"]
        assert said["compared"] == len(seen) > 0
        assert said["names"]["target_joints"]["largest"] == pytest.approx(0.01)
        for observation in seen:
            (same,) = [each for each in asked if np.array_equal(each["robot_state.q"], observation["robot_state.q"])][
                :1
            ]
            assert np.array_equal(same["image.wrist"], observation["image.wrist"])
        assert report["exchanges"] == len(asked)
        address = f"127.0.0.1:{one.port}"
        assert cli.main(["run", "sim", address, "--seconds", "0.5", f"--shadow=127.0.0.1:{other.port}"]) == 0
        assert "shadow" in capsys.readouterr().out


@pytest.mark.skipif(importlib.util.find_spec("mcap") is None, reason="needs offboard-client[record]")
def test_a_shadows_answers_are_recorded_with_the_policys(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from offboard_client.recording import Episode, read_questions, read_shadow

    with (
        InferenceServer({"a": lambda: still}, port=0, fps=10.0) as one,
        InferenceServer({"b": lambda: still}, port=0, fps=10.0) as other,
    ):
        report = run(one, f"127.0.0.1:{other.port}", capsys, "--seconds=0.8", f"--output-dir={tmp_path}")
    (path,) = tmp_path.glob("*.mcap")
    with Episode(path) as episode:
        assert episode.shadow["server"] == f"127.0.0.1:{other.port}"
        assert episode.shadow["meta"]["checkpoint_id"] == "b"
        asked, said = {each.at: each for each in read_questions(episode)}, list(read_shadow(episode))
        # The last may come when the episode is over.
        assert report["shadow"]["compared"] - 1 <= len(said) <= len(asked)
        assert said
        for each in said:
            assert each.at > each.asked
            for mine, others in zip(each.rows or (), asked[each.asked].rows or (), strict=True):
                assert np.array_equal(mine["action"]["target_joints"], others["action"]["target_joints"])


def test_a_shadow_that_fails_or_is_refused_disturbs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(observation: dict[str, Any]) -> Any:
        raise ValueError("out of memory")

    with (
        InferenceServer(lambda: still, port=0, fps=10.0) as one,
        InferenceServer({"m": lambda: broken}, port=0, fps=10.0) as other,
    ):
        report = run(one, f"127.0.0.1:{other.port}", capsys)
        assert report["steps"] == 15
        assert report["shadow"]["verdict"] == "nothing"
        (loss,) = lost(report).values()
        assert "out of memory" in loss["failure"]
        report = run(one, f"ws://127.0.0.1:{other.port}/api/v1/session/gone", capsys)
        assert report["steps"] == 15
        (loss,) = lost(report).values()
        assert "gone" in loss["failure"]
        assert loss["failed"] == 1  # it is not tried again


def test_a_shadow_that_nobody_serves_is_said_to_be_that(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with InferenceServer(lambda: still, port=0, fps=10.0) as one:
        report = run(one, "127.0.0.1:9", capsys, "--seconds=0.5")
    assert report["steps"] == 5
    (loss,) = lost(report).values()
    assert "127.0.0.1:9" in loss["failure"]
    assert "refuse" in loss["failure"]
    assert "too slow" not in caplog.text


def test_a_shadow_whose_model_is_not_loaded_in_time_is_said_to_be_that(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = threading.Event()

    def long() -> Any:
        leave.wait(PATIENCE)
        return still

    with (
        InferenceServer(lambda: still, port=0, fps=10.0) as one,
        InferenceServer({"big": long}, port=0, fps=10.0) as other,
    ):
        report = run(one, f"ws://127.0.0.1:{other.port}/api/v1/session/big", capsys, "--seconds=0.5")
        leave.set()
    (loss,) = lost(report).values()
    assert "its session was not open when the run ended: loading" in loss["failure"]


def test_what_a_shadow_says_that_is_no_rows_is_in_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    asked, seen = list[Any](), list[Any]()

    def quiet(observation: dict[str, Any]) -> Any:
        seen.append(observation)
        return None if len(seen) == 1 else still(observation)[:2]

    def drives(observation: dict[str, Any]) -> Any:
        until(lambda: len(seen) >= len(asked), "the shadow has come so far")
        asked.append(observation)
        return still(observation)

    with (
        InferenceServer(lambda: drives, port=0, fps=10.0) as one,
        InferenceServer(lambda: quiet, port=0, fps=10.0) as other,
    ):
        address = f"127.0.0.1:{one.port}"
        assert cli.main(["run", "sim", address, "--seconds=1.5", f"--shadow=127.0.0.1:{other.port}"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 time the policy said rows, and the shadow nothing new (null)" in shown
    assert "3 steps of 7 numbers against 2 steps of 7" in shown


def test_a_shadow_that_is_slow_misses_what_it_has_no_time_for(capsys: pytest.CaptureFixture[str]) -> None:
    leave = threading.Event()

    def slow(observation: dict[str, Any]) -> Any:
        leave.wait(PATIENCE)
        return still(observation)

    with (
        InferenceServer(lambda: still, port=0, fps=10.0) as one,
        InferenceServer(lambda: slow, port=0, fps=10.0) as other,
    ):
        report = run(one, f"127.0.0.1:{other.port}", capsys)
        leave.set()
    assert report["steps"] == 15
    assert report["exchanges"] == 5
    (loss,) = lost(report).values()
    assert loss["dropped"] >= 2
