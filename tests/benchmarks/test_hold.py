"""The benchmark of what has to hold in every mode, so briefly that no figure means anything."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "hold.py"
TINY = ["--steps", "40", "--robots", "1", "2", "--rounds", "1", "--seconds", "0.01"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it reads /proc")]


def test_each_part_is_measured_in_each_mode(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    modes = ["offboard_shared_at_once", "offboard_aio", "offboard_tls"]
    command = [sys.executable, SCRIPT, *TINY, "--modes", *modes, "--output", path]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(path.read_text())
    assert {part: list(found) for part, found in results.items()} == dict.fromkeys(("memory", "robots", "sizes"), modes)
    for mode in modes:
        assert results["memory"][mode]["steps"] == 40
        assert [min(each["cpu_us"]) > 0 for each in results["robots"][mode].values()] == [True, True]
        assert [each["cpu_ms"] > 0 for each in results["sizes"][mode].values()] == [True] * 4
    assert sum(line.startswith("| TLS | ") for line in done.stdout.splitlines()) == 3
