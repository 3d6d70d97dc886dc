"""``offboard run … --timings FILE.csv``, and what Ctrl-C does to an arm that moves."""

from __future__ import annotations

import csv
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from offboard_client import cli
from offboard_client.cli import COLUMNS, Timings
from offboard_client.drivers import RunLength, TimedDriver
from offboard_client.play import Bounded, SafetyLimits
from offboard_client.robots.sim import SimRobot
from offboard_client.terminal import CsvFile
from offboard_core import InferenceServer
from robot_fakes import FakeRobot, FakeSession, rows
from waits import reached, until

STAGES = ("queue_ms", "decode_ms", "codec_ms", "infer_ms")


def run(policy: Callable[[Any], Any], *more: str) -> int:
    with InferenceServer({"it": lambda: policy}, port=0, fps=10) as server:
        return cli.main(["run", "sim", f"127.0.0.1:{server.port}", "--seconds", "0.6", "--json", *more])


def still(observation: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"target_joints": np.array(observation["robot_state.q"])}] * 2


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_step_has_a_line_that_says_where_its_time_went(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, before = tmp_path / "steps.csv", time.time()
    assert run(still, "--episodes", "2", "--timings", str(path)) == 0
    report = json.loads(capsys.readouterr().out)
    found = lines(path)
    assert [(line["episode"], line["step"]) for line in found] == [(e, s) for e in "12" for s in "123"]
    assert len(found) == report["exchanges"]
    assert sum(int(line["commands"]) for line in found) == report["steps"] == 12
    for line in found:
        value = {name: float(text) for name, text in line.items() if name.endswith("_ms") and text}
        assert before <= float(line["time"]) <= time.time()
        parts = sum(value[name] for name in ("client_encode_ms", "network_ms", "server_ms", "client_decode_ms"))
        assert parts <= value["round_trip_ms"] + 0.01
        assert sum(value[name] for name in STAGES) <= value["server_ms"] + 0.01
        assert value["observe_ms"] > 0 < value["apply_ms"]
        assert (line["batch"], line["error"]) == ("1", "")
    # How long a reply took to write is told with the next one, if there is one in the episode.
    assert [bool(line["encode_ms"]) for line in found] == [True, True, False] * 2
    assert sum(float(line["round_trip_ms"]) for line in found) == pytest.approx(1e3 * report["wall_s"]["infer"], abs=2)
    assert sum(float(line["apply_ms"]) for line in found) == pytest.approx(1e3 * report["wall_s"]["apply"], abs=2)
    assert report["losses"] == []


def test_a_step_that_fails_says_by_which_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[int] = []

    def failing(observation: dict[str, Any]) -> Any:
        asked.append(1)
        if len(asked) == 2:
            raise RuntimeError("no idea")
        far = np.degrees(observation["robot_state.q"])
        return [{"target_joints": far}] if len(asked) == 4 else still(observation)

    path = tmp_path / "steps.csv"
    assert run(failing, "--episodes", "2", "--timings", str(path)) == 0
    found = [(line["episode"], line["step"], line["error"], line["commands"]) for line in lines(path)]
    assert found == [
        ("1", "1", "", "2"), ("1", "2", "policy_failed", "0"), ("2", "1", "", "2"), ("2", "2", "invalid_action", "0"),
    ]  # fmt: skip
    assert lines(path)[1]["network_ms"] == ""
    assert float(lines(path)[1]["round_trip_ms"]) > 0


def test_lines_are_in_the_file_while_the_run_goes_on(tmp_path: Path) -> None:
    path, seen = tmp_path / "steps.csv", list[int]()

    def looking(observation: dict[str, Any]) -> Any:
        end = time.monotonic() + 60
        while len(lines(path)) < len(seen) - 1 and time.monotonic() < end:
            time.sleep(0.001)
        seen.append(len(lines(path)))
        return still(observation)

    assert run(looking, "--timings", str(path)) == 0
    assert seen == [0, 0, 1]  # a line once its chunk was played and the next answer is there


@pytest.mark.parametrize("named", ["there already", "in no folder", "a folder"])
def test_a_file_that_cannot_be_made_is_told_before_anything_moves(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def connect(robot: SimRobot) -> None:
        raise AssertionError("the robot was connected")

    monkeypatch.setattr(SimRobot, "connect", connect)
    path = {"in no folder": tmp_path / "no" / "steps.csv", "a folder": tmp_path}.get(named, tmp_path / "steps.csv")
    if named == "there already":
        path.write_text("mine")
    assert cli.main(["run", "sim", "127.0.0.1:1", "--timings", str(path)]) == 1
    says = "it cannot be written" if named == "in no folder" else "there is such a file"
    assert f"--timings {path}: {says}" in capsys.readouterr().err
    assert named != "there already" or path.read_text() == "mine"


def test_a_run_that_does_not_begin_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    assert cli.main(["run", "sim", "127.0.0.1:1", "--wait", "0.2", "--timings", str(path)]) == 1
    assert not path.exists()
    assert run(still, "--timings", str(path)) == 0
    assert lines(path)


def test_a_file_that_fails_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    robot: Any = FakeRobot()
    file = CsvFile(tmp_path / "steps.csv", COLUMNS, "--timings")
    file.close()
    with Bounded(Timings(file), 100) as timings:
        driver = TimedDriver(
            FakeSession(rows(0.0), rows(0.0), []), robot, robot, limits=SafetyLimits(), observers=[timings]
        )
        driver.run(RunLength(1, 15.0))
    assert len(robot.played) == 2
    assert timings.loss.failed == 3
    assert "closed file" in (timings.loss.failure or "")


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_lets_a_motion_come_to_its_end_once(
    times: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    came, apply = list[bool](), SimRobot.apply

    over = threading.Event()

    def interrupted(robot: Any, action: Any, seconds: float) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        if times == 2:
            until(robot._stopped.is_set, "the first is heard")
            os.kill(os.getpid(), signal.SIGINT)
            reached(over)
        apply(robot, action, seconds)
        came.append(True)

    monkeypatch.setattr(SimRobot, "apply", interrupted)
    monkeypatch.setattr("offboard_client.robots.watchdog.STOPPING", 0.1)
    assert run(still, "--episodes", "5") == 130
    over.set()
    report = json.loads(capsys.readouterr().out)
    assert (report["interrupted"], report["episodes"], report["exchanges"]) == (True, 1, 1)
    assert report["steps"] == (1 if times == 1 else 0)
    assert times == 2 or len(came) == 1
    assert report["episode_log"][0]["success"] is None
