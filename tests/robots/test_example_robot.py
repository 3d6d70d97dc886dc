"""The example of a robot in its own distribution, from where it lies, without being installed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from offboard_client.testing import RobotConformance
from offboard_core import InferenceServer
from offboard_process import in_process

SOURCE = Path(__file__).resolve().parents[2] / "examples" / "offboard-robot" / "src"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what ``pip install`` leaves behind, but for the code."""
    info = tmp_path / "offboard_robot-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offboard-robot\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[offboard.robots]\nplanar = offboard_robot:planar\n")
    monkeypatch.syspath_prepend(str(SOURCE))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "offboard_robot"]:
        del sys.modules[name]


def test_it_is_listed_without_its_arm(installed: Path) -> None:
    done = in_process("run", "--help", path=installed)
    row = r"^  planar +An arm of three joints in the plane\. \(offboard-robot 0\.1\.0\)$"
    assert re.search(row, done.stdout, re.MULTILINE), done.stdout
    assert "offboard_robot.arm" not in sys.modules
    assert "--real-time" in in_process("run", "planar", "--help", path=installed).stdout


def test_it_is_driven_by_its_name_and_judged_by_its_task(installed: Path) -> None:
    told: list[str] = []

    def homing(seen):
        told.append(seen["task"])
        return [{"target_joints": seen["robot_state.q"] * share} for share in np.linspace(0.9, 0.0, 10)]

    with InferenceServer({"homing": lambda: homing}, port=0, fps=10) as server:
        done = in_process(
            "run", "planar", f"127.0.0.1:{server.port}", "--json", "--episodes", "2", "--seconds", "1",
            "--limits.joint-velocity", "0.5", "--task", "all to zero", path=installed,
        )  # fmt: skip
    assert (done.returncode, json.loads(done.stdout)["successes"]) == (0, 2), done.stderr
    assert set(told) == {"all to zero"}


class TestPlanar(RobotConformance):
    name = "planar"

    @pytest.fixture(autouse=True)
    def there(self, installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.syspath_prepend(str(installed))
