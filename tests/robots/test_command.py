"""``offboard run sim`` from its command line to its report, against real servers in this process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from offboard_client import cli
from offboard_client.robots.sim import SimRobot
from offboard_core import InferenceServer


def serve(policy: Callable[[Any], Any], fps: float | None = 10.0) -> InferenceServer:
    return InferenceServer({"it": lambda: policy}, port=0, fps=fps)


def run_sim(server: InferenceServer, *more: str) -> int:
    return cli.main(["run", "sim", f"127.0.0.1:{server.port}", "--seconds", "0.5", *more])


def still(observation: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"target_joints": np.array(observation["robot_state.q"])}] * 3


def test_it_prints_a_table_and_a_line_for_each_episode(capsys: pytest.CaptureFixture[str]) -> None:
    with serve(still) as server:
        assert run_sim(server, "--episodes=2", "--seed", "4") == 0
    out, err = capsys.readouterr()
    assert "0 of 2 episodes" in out
    assert "10 in 4 chunks" in out
    assert "server: infer" in out
    assert "episode 1/2 (seed 4): not done after 0.5 s, 5 steps in 2 chunks" in err
    assert "episode 2/2 (seed 5)" in err


def test_json_is_one_object_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with serve(still) as server:
        assert run_sim(server, "--json=True", "--model-id", "it") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["episodes"], report["successes"], report["steps"], report["exchanges"]) == (1, 0, 5, 2)
    assert report["round_trip_ms"].keys() == {"p50", "p95", "p99"}
    assert report["round_trip_ms"]["p50"] >= report["server_ms"]["total"]["p50"] > 0
    assert report["deadline_ms"] == pytest.approx(100)
    assert report["failures"] == {}


def test_an_address_may_be_a_whole_url(capsys: pytest.CaptureFixture[str]) -> None:
    with serve(still) as server:
        url = f"ws://127.0.0.1:{server.port}/api/v1/session/it"
        assert cli.main(["run", "sim", url, "--seconds", "0.1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 1


def test_the_policy_is_told_the_task(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[Any] = []
    with serve(lambda observation: told.append(observation["task"])) as server:
        assert run_sim(server, "--task", "put the blue cube on the red cube") == 0
    assert set(told) == {"stack the blue cube on the red cube"}


def test_a_policy_of_which_nothing_is_played_fails_its_episodes_and_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    def raising(observation: Any) -> Any:
        raise RuntimeError("no idea")

    with serve(raising) as server:
        assert run_sim(server, "--episodes", "2", "--json") == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["failures"] == {"policy_failed": 2}
    assert "no idea" in err


def test_a_policy_that_raises_after_it_was_played_fails_its_episode_and_not_the_run() -> None:
    asked: list[Any] = []

    def raising(seen: Any) -> Any:
        asked.append(seen)
        if len(asked) > 1:
            raise RuntimeError("no idea")
        return still(seen)

    with serve(raising) as server:
        assert run_sim(server) == 0


def test_an_action_far_from_where_the_arm_is_fails_the_episode(capsys: pytest.CaptureFixture[str]) -> None:
    with serve(lambda seen: {"target_joints": np.degrees(seen["robot_state.q"])}) as server:
        assert run_sim(server, "--json") == 1
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (report["steps"], report["failures"]) == (0, {"invalid_action": 1})
    assert "unit (radians)" in err


def test_limits_are_options(capsys: pytest.CaptureFixture[str]) -> None:
    with serve(lambda seen: {"target_joints": seen["robot_state.q"] + 0.02}) as server:
        assert run_sim(server, "--json", "--limits.joint-velocity", *["0.5"] * 7) == 0
        assert json.loads(capsys.readouterr().out)["failures"] == {}
        assert run_sim(server, "--json", "--limits.joint-velocity", "0.1") == 1
        assert json.loads(capsys.readouterr().out)["failures"] == {"invalid_action": 1}


def test_a_server_that_names_no_rate_cannot_be_played(capsys: pytest.CaptureFixture[str]) -> None:
    with serve(still, fps=None) as server:
        assert run_sim(server) == 1
    assert "serve with --fps" in capsys.readouterr().err


def test_without_a_server_it_says_so_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "sim", "127.0.0.1:1", "--wait", "0.5"]) == 1
    assert "127.0.0.1:1 refuses connections" in capsys.readouterr().err


def test_a_run_that_cannot_begin_closes_the_robot(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[SimRobot] = []

    def close(robot: SimRobot) -> None:
        closed.append(robot)

    monkeypatch.setattr(SimRobot, "close", close)
    assert cli.main(["run", "sim", "127.0.0.1:1", "--wait", "0.2"]) == 1
    assert len(closed) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "sim HOST:PORT (or --policy POLICY)"),
        (["x:8000", "sim"], "sim HOST:PORT (or --policy POLICY)"),
        (["ws://x"], "sim HOST:PORT (or --policy POLICY)"),
        (["sim"], "SERVER is missing: HOST:PORT right behind the robot's name, or --policy POLICY instead of a server"),
        (["sim", "--nope"], "Unrecognized options: --nope"),
        (["sim", "--seed", "1", "--nope"], "Unrecognized options: --nope"),
        (["sim", "x", "--policy", "local:scripted"], "give either the server x or --policy local:scripted, not both"),
        (["sim", "--policy", "local:scripted", "x"], "give either the server x or --policy local:scripted, not both"),
        (
            ["sim", "--policy=local:scripted", "x:1", "--seed=1"],
            "give either the server x:1 or --policy local:scripted",
        ),
        (["sim", "x", "y"], "offboard run sim takes no 'y'; offboard run sim --help shows what it takes"),
        (["sim", "x", "--episodes", "0"], "episodes is 0; expected 1 or more"),
        (["sim", "x", "--seconds", "-1"], "seconds is -1.0"),
        (["sim", "x", "--task", "fold the towel"], "stack the red cube on the green cube"),
        (["sim", "x", "--renderer", "paint"], "renderer"),
        (["sim", "x", "--seed", "-1"], "the seed is -1"),
        (["sim", "x", "--limits.linear-velocity", "nan"], "linear_velocity"),
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_without_mujoco_it_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['mujoco'] = None; from offboard_client.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "run", "sim", "127.0.0.1:1"],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "offboard: the simulation needs MuJoCo: pip install 'offboard-client[sim]'\n"


def test_how_long_packing_takes_is_measured_of_packed_replies_only(capsys: pytest.CaptureFixture[str]) -> None:
    with serve(still) as server:
        assert run_sim(server, "--seconds", "0.3", "--json") == 0
        first = json.loads(capsys.readouterr().out)
        assert run_sim(server, "--json") == 0
        second = json.loads(capsys.readouterr().out)
    assert (first["exchanges"], second["exchanges"]) == (1, 2)
    assert "prev_encode" not in first["server_ms"]
    assert 0 < second["server_ms"]["prev_encode"]["p50"] == second["server_ms"]["prev_encode"]["p99"], "there is one"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_its_report(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[int] = []

    def interrupting(observation: Any) -> Any:
        asked.append(1)
        if len(asked) == 3:
            os.kill(os.getpid(), number)
        return still(observation)

    handler = signal.getsignal(signal.SIGTERM)
    with serve(interrupting) as server:
        arguments = ["--seconds", "30", "--episodes", "50", "--json"]
        assert cli.main(["run", "sim", f"127.0.0.1:{server.port}", *arguments]) == 130
    report = json.loads(capsys.readouterr().out)
    assert report["interrupted"] is True
    assert report["steps"] >= 3
    assert report["episodes"] == 1
    assert signal.getsignal(signal.SIGTERM) is handler
