"""``offboard check``, and ``offboard run``, which does the same first."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from offboard_client import cli
from offboard_client.robots.sim import SimRobot
from offboard_core import InferenceServer, declare
from puppets import Puppet, source
from terminal import Terminal


@declare(observation={"robot_state.q": (7,), "task": str}, action={"target_joints": (7,)})
def fitting(observation):
    raise AssertionError("nothing is inferred")


@declare(
    observation={"robot_state.q": (6,), "image.front": (-1, -1, 3)}, action={"target_joints": (6,), "pose_delta": (7,)}
)
def foreign(observation):
    raise AssertionError("nothing is inferred")


#: What of it does not fit the simulated arm.
WRONG = ["robot_state.q", "image.front", "target_joints", "pose_delta"]


def unknown(observation):
    raise AssertionError("nothing is inferred")


@pytest.fixture(autouse=True)
def unmoved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    for name in ("observe", "apply"):
        monkeypatch.setattr(SimRobot, name, lambda *_, name=name: calls.append(name))
    monkeypatch.setattr("offboard_client.robots.sim.Stacking.reset", lambda *_: calls.append("reset"))
    return calls


def check(policy, *more: str, command: str = "check") -> int:
    with InferenceServer({"it": policy}, port=0, fps=10.0) as server:
        return cli.main([command, "sim", f"127.0.0.1:{server.port}", *more])


def test_what_fits_is_0(capsys, unmoved) -> None:
    assert check(fitting) == 0
    assert capsys.readouterr().out == "they fit\n"
    assert unmoved == []


def test_a_size_that_the_policy_does_not_take_is_told(capsys) -> None:
    pytest.importorskip("PIL")

    @declare(observation={"image.wrist": (224, 224, 3), "image.exterior": (-1, -1, 3)}, action={"target_joints": (7,)})
    def strict(observation):
        raise AssertionError("nothing is inferred")

    assert check(strict, "--resize", "100") == 0
    assert capsys.readouterr().err == (
        "--resize is not for image.wrist as (224, 224, 3): the policy takes them in no other size\n"
    )


def test_what_does_not_fit_is_1_with_a_row_for_each(capsys, unmoved) -> None:
    assert check(foreign) == 1
    out = capsys.readouterr().out
    for name in WRONG:
        assert re.search(rf"│ {name} +│ \S", out), out
    assert "(7)" in out
    assert "the cameras image.wrist" in out
    assert unmoved == []


def test_json_holds_the_same(capsys) -> None:
    assert check(foreign, "--json") == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["robot"], said["fits"], said["doubts"]) == ("sim", False, [])
    assert [each["name"] for each in said["mismatches"]] == [
        "robot_state.q",
        "image.front",
        "target_joints",
        "pose_delta",
    ]
    assert said["mismatches"][0].keys() == {"name", "robot", "policy", "advice"}
    assert said["meta"]["action_fps"] == 10.0


def test_a_policy_that_declares_nothing_is_not_judged_and_that_is_said(capsys) -> None:
    assert check(unknown) == 0
    out = capsys.readouterr().out
    assert "cannot be judged: observation: the policy declares nothing" in out
    assert out.endswith("they fit, as far as can be told\n")


def test_a_policy_in_this_process_is_held_against_the_robot_as_well(capsys, unmoved, tmp_path: Path) -> None:
    assert cli.main(["check", "sim", "--policy", "local:scripted"]) == 0
    assert capsys.readouterr().out.endswith("they fit\n")


@pytest.mark.parametrize("arguments", [[], ["--host", "x"], ["sim"], ["sim", "x", "--task", "fold"]])
def test_a_command_line_that_makes_no_sense_is_2(arguments: list[str], capsys) -> None:
    assert cli.main(["check", *arguments]) == 2


def test_the_table_fits_80_columns_and_breaks_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(monkeypatch, 80)
    with terminal.stands_for("stdout"):
        assert check(foreign) == 1
    assert [line for line in terminal.lines if len(line) > 80] == []
    for word in (*WRONG, "policy"):
        assert any(word in line for line in terminal.lines), word


def test_run_says_the_same_before_anything_moves(capsys, unmoved) -> None:
    assert check(foreign, "--json", command="run") == 1
    out, err = capsys.readouterr()
    assert out == ""
    for name in WRONG:
        assert re.search(rf"│ {name} +│ \S", err), err
    assert err.splitlines()[-1].startswith("offboard: the robot and the policy do not fit, and nothing has moved")
    assert unmoved == []


def test_run_says_what_cannot_be_judged_and_goes_on(capsys, unmoved) -> None:
    def still(observation):
        return [{"target_joints": np.zeros(7)}]

    check(still, "--seconds", "0.1", command="run")
    assert "cannot be judged beforehand: action: the policy declares nothing" in capsys.readouterr().err
    assert "observe" in unmoved


def declaring(**meta):
    """A server's models: one whose checkpoint says so of its own use."""
    return source({"it": lambda: Puppet(meta=meta)}, fps=10.0)


@pytest.mark.parametrize(
    ("meta", "why", "options"),
    [
        ({"temporal_ensemble_coeff": 0.01}, "averages the answers", "--chunks ensemble"),
        ({"n_action_steps": 10, "chunk_length": 15}, "10 are meant", "--chunks latest --chunks-threshold 0.334"),
    ],
)
def test_how_a_checkpoint_was_meant_to_be_played_is_said_with_what_to_type_until_it_is(meta, why, options, capsys):
    with InferenceServer({"it": declaring(**meta)}, port=0) as server:
        typed = ["sim", f"127.0.0.1:{server.port}"]
        assert cli.main(["check", *typed]) == 0
        out = capsys.readouterr().out
        assert why in out
        assert f"\n  offboard run sim {typed[1]} {options}\n" in out
        cli.main(["run", *typed, "--seconds", "0.1"])
        said = " ".join(capsys.readouterr().err.split())
        assert why in said
        assert f"so it is played with {options}" in said
        cli.main(["run", *typed, "--seconds", "0.1", *options.split()])
        assert why not in capsys.readouterr().err


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)


@pytest.fixture
def cameras(monkeypatch: pytest.MonkeyPatch, unmoved):
    def see(**shown: np.ndarray) -> None:
        images = {f"image.{name}": image for name, image in shown.items()}
        monkeypatch.setattr(SimRobot, "observe", lambda _: {"robot_state.q": np.zeros(7), **images})

    return see


def test_live_images_are_shown_beside_what_the_policy_reads_and_nothing_moves(capsys, cameras, unmoved) -> None:
    cameras(wrist=noise(1), exterior=np.full((12, 16, 3), (200, 100, 0), np.uint8) + noise(2) // 16)

    @declare(observation={"robot_state.q": (7,), "image.wrist": (-1, -1, 3)}, action={"target_joints": (7,)})
    def seeing(observation):
        raise AssertionError("nothing is inferred")

    assert check(seeing, "--live") == 0
    out = capsys.readouterr().out
    assert re.search(r"image\.wrist +│ 16 x 12 +│ [\d ]+│ 0 to 255 +│ \(any, any, 3\)", out), out
    assert re.search(r"image\.exterior +│ 16 x 12 +│ 208 107 8 +│ 0 to 215 +│ not this", out), out
    assert out.endswith("they fit\n")
    assert unmoved == []


@pytest.mark.parametrize("where", ["check", "run"])
def test_a_camera_that_shows_nothing_or_what_another_shows_is_told(
    capsys, monkeypatch: pytest.MonkeyPatch, cameras, where: str
) -> None:
    same = noise(1)
    cameras(wrist=np.full((224, 224, 3), 3, np.uint8), left=same, right=same.copy())
    shown = SimRobot.observe

    def whole(robot: SimRobot) -> dict[str, Any]:
        blank = {name: np.zeros(of.shape, of.dtype) for name, of in robot.spec.measures.items()}
        return {**blank, **shown(robot)}

    monkeypatch.setattr(SimRobot, "observe", whole)

    @declare(observation={"robot_state.q": (7,)}, action={"target_joints": (7,)})
    def still(observation):
        return [{"target_joints": np.zeros(7)}]

    check(still, *(["--live"] if where == "check" else ["--seconds", "0.1"]), command=where)
    text = "".join(capsys.readouterr())
    assert "image.wrist" in text
    assert re.search(r"shows nothing: all of it is 3 to 3 of 255", text), text
    assert re.search(r"image\.right:?\s+is the same picture as\s+image\.left", text), text


def test_live_images_are_in_the_object_as_well(capsys, cameras) -> None:
    cameras(wrist=np.full((12, 16, 3), 3, np.uint8))
    assert check(fitting, "--live", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    (live,) = said["live"]
    assert live == {"name": "image.wrist", "size": [16, 12], "mean": [3, 3, 3], "low": 3, "high": 3}
    assert [doubt["name"] for doubt in said["doubts"]] == ["image.wrist"]


def test_live_images_are_drawn_in_a_terminal(monkeypatch: pytest.MonkeyPatch, cameras) -> None:
    cameras(wrist=noise(1))
    monkeypatch.setenv("COLORTERM", "truecolor")
    terminal = Terminal(monkeypatch, 80)
    with terminal.stands_for("stdout"):
        assert check(fitting, "--live") == 0
    assert sum("▀" * 16 in line for line in terminal.lines) == 6


def test_the_verdict_is_the_reports(capsys, monkeypatch) -> None:
    def still(observation):
        return [{"target_joints": np.zeros(7)}]

    check(still, "--seconds", "0.1", "--json", command="run")
    found = json.loads(capsys.readouterr().out)["check"]
    assert found["fits"] is True
    assert {doubt["name"] for doubt in found["doubts"]} == {"observation", "action"}
