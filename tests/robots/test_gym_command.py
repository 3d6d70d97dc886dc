"""``gymnasium:ID`` from the command line to the report, with a policy in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import little_environments
import numpy as np
import pytest
from little_environments import ID
from offboard_client import cli
from offboard_client.recording import Episode
from offboard_core import InferenceServer, declare

NAME = f"gymnasium:{ID}"
FILE = """
module = "little_environments"
simulated = true
fps = 10
task = "both to zero"
success = { info = "is_success" }
ignore = ["pixels"]

[observation]
"angles" = { key = "arm.q" }
"image.exterior" = { render = true }

[action]
"target_angles" = { kind = "absolute", unit = "turns" }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "reach.toml"
    path.write_text(FILE, "utf-8")
    return path


@declare(observation={"angles": (2,), "image.exterior": (4, 5, 3), "task": str}, action={"target_angles": (2,)})
def halving(seen: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"target_angles": seen["angles"] * share} for share in (0.5, 0.25)]


def serve(policy: Callable[[Any], Any]) -> InferenceServer:
    return InferenceServer({"it": policy}, port=0, fps=10.0)


def run(server: InferenceServer, command: str, file: Path, *more: str) -> int:
    return cli.main([command, NAME, f"127.0.0.1:{server.port}", "--spaces", str(file), *more])


def test_reward_and_success_are_reported(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An episode is over when the environment says so, long before its time."""
    with serve(halving) as server:
        assert run(server, "run", file, "--episodes", "2", "--json") == 0
        report = json.loads(capsys.readouterr().out)
        assert run(server, "run", file) == 0
    assert report["successes"] == 2
    for episode in report["episode_log"]:
        assert episode["success"] is True
        assert 4 <= episode["steps"] <= 5
        assert -0.05 < episode["scores"]["max_reward"] < 0
        assert -1 < episode["scores"]["sum_reward"] < -0.5
    assert report["scores"]["sum_reward"] == pytest.approx(
        np.mean([episode["scores"]["sum_reward"] for episode in report["episode_log"]])
    )
    assert "sum reward" in capsys.readouterr().out


def test_what_is_beyond_the_action_space_fails_its_episode_and_is_not_played(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def far(seen: dict[str, Any]) -> dict[str, Any]:
        return {"target_angles": np.array([1.0, 2.5])}

    with serve(declare(observation={}, action={"target_angles": (2,)})(far)) as server:
        assert run(server, "run", file, "--json") == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["failures"] == {"invalid_action": 1}
    assert "number 2 of target_angles of row 0 is 2.5; -2 … 2 are allowed (turns)" in err
    assert little_environments.made[-1].played == ["closed"]


def test_an_environment_that_is_gone_in_mid_episode_ends_the_run_and_what_it_left_is_kept(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    @declare(observation={"angles": (2,)}, action={"target_angles": (2,)})
    def until_gone(seen: dict[str, Any]) -> list[dict[str, Any]]:
        asked.append(seen)
        little_environments.made[-1].fault = "fails" if len(asked) == 3 else ""
        return [{"target_angles": seen["angles"] * 0.9}] * 2

    with serve(until_gone) as server:
        assert run(server, "run", file, "--json", "--episodes", "2", "--output-dir", str(tmp_path / "kept")) == 1
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["failures"] == {"robot_failed": 1}
    assert report["steps"] == 4
    assert "the robot failed in apply: OSError: the arm is gone" in err
    assert little_environments.made[-1].played[-1] == "closed"
    (kept,) = (tmp_path / "kept").iterdir()
    with Episode(kept) as episode:
        assert episode.outcome["failure"][0] == "robot_failed"
        assert len(list(episode.messages(["/played"]))) >= 4


def test_check_says_that_they_fit_or_why_not(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(halving) as server:
        assert run(server, "check", file, "--live") == 0
        assert "they fit" in capsys.readouterr().out
        file.write_text(FILE.replace('"angles"', '"joints"'), "utf-8")
        assert run(server, "check", file) == 1
        assert "angles" in capsys.readouterr().out
        file.write_text(FILE.replace('ignore = ["pixels"]', ""), "utf-8")
        assert run(server, "check", file) == 1
        assert "observes pixels, which [observation] does not name" in capsys.readouterr().err


def test_a_dry_run_steps_nothing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(halving) as server:
        assert run(server, "run", file, "--dry-run", "--seconds", "0.4", "--json") == 0
    traced = json.loads(capsys.readouterr().out)["dry_run"]["target_angles"]
    assert (traced["units"], traced["limit"]) == (["turns"] * 2, [None] * 2)
    assert little_environments.made[-1].played == ["closed"]


def test_it_is_shown_with_its_bounds(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["robots", NAME, "--spaces", str(file)]) == 0
    out = capsys.readouterr().out
    assert "from … to" in out
    assert "-2 … 2" in out
    assert cli.main(["robots"]) == 0
    assert "gymnasium:ID" in (out := capsys.readouterr().out)
    assert "offboard-client[gym]" in out


def test_a_report_is_never_lost_for_a_number_that_json_lacks(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for a reward of the environment, nor for a sum of rewards; the error says which."""
    real: Any = little_environments.Reach.step
    for reward, says in ((float("nan"), "the reward of the environment's step is nan"), (1.5e308, "sum_reward is inf")):

        def step(self: Any, action: Any, reward: float = reward) -> Any:
            observation, _, *rest = real(self, action)
            return observation, reward, *rest

        monkeypatch.setattr(little_environments.Reach, "step", step)
        with serve(halving) as server:
            assert run(server, "run", file, "--json") == 1
        (episode,) = json.loads(capsys.readouterr().out)["episode_log"]
        assert episode["failure"][0] == "robot_failed"
        assert says in episode["failure"][1]


def test_what_fails_after_the_last_episode_is_said(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def close(self: Any) -> None:
        raise OSError("no window to close")

    monkeypatch.setattr(little_environments.Reach, "close", close)
    with serve(halving) as server:
        assert run(server, "run", file, "--json") == 1
        out, err = capsys.readouterr()
        report = json.loads(out)
        assert report["successes"] == 1
        assert report["afterwards"] == ["robot_failed", "the robot failed in close: OSError: no window to close"]
        assert "after the last episode: robot_failed: the robot failed in close" in err
        assert run(server, "run", file) == 1
        assert "afterwards" in capsys.readouterr().out
