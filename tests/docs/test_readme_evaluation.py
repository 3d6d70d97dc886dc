"""The README's second section is typed as it stands: a server, two models of the simulation, and the report."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest
from offboard_process import offboard, serving

ROOT = Path(__file__).resolve().parents[2]
SECTION = (ROOT / "README.md").read_text("utf-8").split("\n## ")[2]

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("offboard_core", "mujoco", "mcap", "av")),
        reason="needs a server of ours, the simulation and recordings",
    ),
]


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        pytest.param(("--episodes=1", "--seconds=2"), "scripted and scripted?speed=0.1: not decided", id="one start"),
        pytest.param((), "scripted is better than scripted?speed=0.1", marks=pytest.mark.slow, id="as it stands"),
    ],
)
def test_from_the_server_to_the_report(tmp_path: Path, more: tuple[str, ...], verdict: str) -> None:
    (block,) = re.findall(r"```bash\n(.*?)```", SECTION, re.DOTALL)
    serve, evaluate = (shlex.split(line.partition(" offboard ")[2]) for line in block.splitlines())
    assert (serve[0], evaluate[0]) == ("serve", "evaluate")
    with serving(*serve[1:]) as (_, info):
        address = f"127.0.0.1:{info['port']}"
        typed = [{"localhost": address, "eval": str(tmp_path / "eval")}.get(word, word) for word in evaluate]
        done = offboard(*typed, *more)
    assert done.returncode == 0, done.stderr
    assert verdict in done.stdout
    page = (tmp_path / "eval" / "report.html").read_text("utf-8")
    assert "scripted?speed=0.1" in page
    trials = [json.loads(line) for line in (tmp_path / "eval" / "trials.jsonl").read_text("utf-8").splitlines()[1:]]
    recordings = {path.name for path in (tmp_path / "eval" / "recordings").iterdir()}
    assert recordings == {line["trial"]["recording"] for line in trials}
    assert len(recordings) >= 2
