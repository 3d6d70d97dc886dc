"""``offboard run … --shadow``: a second model that is asked the same and drives nothing."""

from __future__ import annotations

import importlib.util
import json
import threading
from typing import Any

import numpy as np
import pytest
from offboard_client import cli
from waits import PATIENCE

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
