"""The page about LeRobot's arms, walked: a checkpoint on an arm with an SO-101's motors and calibration."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from lerobot_checkpoints import SETTINGS
from offboard_process import in_process
from stand_in_arm import MOTORS, install, write_calibration

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "lerobot-arms.md").read_text("utf-8")
BLOCKS = re.findall(r"^```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def lines(command: str) -> list[list[str]]:
    """The page's command lines of ``offboard COMMAND``, as words behind it."""
    found = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line)[2:] for line in found if line.startswith(f"offboard {command} ")]


def trained(folder: Path) -> None:
    """A policy with random weights, about an arm that was held where this one is."""
    import torch
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.factory import get_policy_class, make_policy_config, make_pre_post_processors

    motors, picture = (6,), (3, 64, 64)
    torch.manual_seed(0)
    config = make_policy_config(
        "act",
        input_features={
            "observation.state": PolicyFeature(FeatureType.STATE, motors),
            "observation.images.front": PolicyFeature(FeatureType.VISUAL, picture),
        },
        output_features={"action": PolicyFeature(FeatureType.ACTION, motors)},
        device="cpu", push_to_hub=False, **SETTINGS["act"],
    )  # fmt: skip
    there = torch.tensor([10.0] * 5 + [60.0])
    stats = {
        name: {"mean": there, "std": 0 * there + 0.2, "min": there - 30, "max": there + 30}
        for name in ("observation.state", "action")
    }
    half = torch.full((3, 1, 1), 0.5)
    stats["observation.images.front"] = {"mean": half, "std": half, "min": 0 * half, "max": 2 * half}
    for part in (get_policy_class("act")(config), *make_pre_post_processors(config, dataset_stats=stats)):
        part.save_pretrained(folder)


@pytest.fixture
def beside(lerobot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a reader of the page works."""
    monkeypatch.chdir(tmp_path)
    trained(tmp_path / "outputs/train/so101/checkpoints/000100/pretrained_model")
    info = {name: {"names": [f"{motor}.pos" for motor in MOTORS]} for name in ("observation.state", "action")}
    (tmp_path / "datasets/so101/meta").mkdir(parents=True)
    (tmp_path / "datasets/so101/meta/info.json").write_text(json.dumps({"features": info}))
    (limits,) = [block for block in BLOCKS if block.startswith("# so101.toml")]
    (tmp_path / "so101.toml").write_text(limits)
    write_calibration(tmp_path)
    return install(tmp_path / "site", monkeypatch)


def here(words: list[str], served: list[str], calibrations: Path) -> list[str]:
    """A command line of the page on this machine: another arm, and the served policy in this process."""
    (_, *rest), words = words, list(words)
    for gone in ("--robot.port", "--robot.cameras"):
        if gone in rest:
            at = rest.index(gone)
            del rest[at : at + 2]
    if "gpu-box:8000" in rest:
        rest[rest.index("gpu-box:8000") : rest.index("gpu-box:8000") + 1] = ["--policy", "local:lerobot", *served]
    return ["lerobot:stand_in", *rest, "--robot.calibration_dir", str(calibrations), "--json"]


def test_the_page_leads_to_a_driven_checkpoint(beside: Path, tmp_path: Path) -> None:
    (served,) = lines("serve")
    assert served[:2] == ["--vendor", "lerobot"]
    found = {}
    for command in ("robots", "check", "run"):
        (words,) = lines(command)
        more = ["--seconds", "0.6"] if command == "run" else []
        done = in_process(command, *here(words, served[2:], tmp_path), *more)
        assert done.returncode == 0, done.stderr
        found[command] = json.loads(done.stdout)
    assert found["robots"]["plays"]["target_motors"]["unit"] == "degrees; the gripper 0 to 100"
    assert (found["check"]["mismatches"], found["check"]["doubts"]) == ([], [])
    report = found["run"]
    assert (report["failures"], report["check"]["fits"]) == ({}, True)
    assert report["steps"] > 0


def test_a_unit_that_the_arm_does_not_have_is_found_before_it_moves(beside: Path, tmp_path: Path) -> None:
    (served,), (words,) = lines("serve"), lines("run")
    line = [*here(words, served[2:], tmp_path), "--robot.use_degrees", "false"]
    refused = in_process("run", *line)
    assert refused.returncode == 1
    assert "nothing has moved; see above: motors, target_motors" in refused.stderr
    missing = [word for word in line if word not in ("--codec.units", "degrees")]
    assert "give --codec.units degrees or range" in in_process("run", *missing).stderr
