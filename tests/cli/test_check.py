"""``offboard check``, and ``offboard run``, which does the same first."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from offboard_client import cli
from offboard_client.robots.sim import SimRobot
from offboard_core import InferenceServer, declare
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
