"""The benchmark of the kernel's TCP on a long way, so briefly that no time means anything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "far_away.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (hasattr(os, "geteuid") and os.geteuid() == 0 and os.access("/dev/net/tun", os.W_OK)),
        reason="it makes network namespaces",
    ),
]


def test_both_settings_are_measured_and_nothing_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    counts = ["--warm", "2", "--rests", "1", "--rest", "0.01", "--rtt", "10"]
    done = subprocess.run(
        [sys.executable, SCRIPT, *counts, "--workloads", "A", "--images", "raw", "--output", path],
        check=False, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    runs = json.loads(path.read_text())
    assert [run["slow_start_after_idle"] for run in runs] == [1, 0]
    assert all(run["warm_ms"] > 10 for run in runs), "the way there and back"
    left = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True, timeout=60).stdout
    assert "far-" not in left
