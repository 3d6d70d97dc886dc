"""The benchmark of slow links, so briefly that no time means anything."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "slow_link.py"

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it reads /proc")


@pytest.mark.parametrize("workloads", ["A", pytest.param("AB", marks=pytest.mark.slow)])
def test_raw_and_auto_are_measured_and_printed_as_the_documentation_has_it(tmp_path: Path, workloads: str) -> None:
    path = tmp_path / "results.json"
    done = subprocess.run(
        [sys.executable, SCRIPT, "--mbit", "50", "--delay", "5", "--requests", "1", "--workloads", *workloads,
         "--output", path],
        check=False, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    runs = json.loads(path.read_text())
    assert [(run["workload"], run["asked"]) for run in runs] == [(w, a) for w in workloads for a in ("raw", "auto")]
    for run in runs:
        assert len(run["said"]) == (run["asked"] == "auto")
        if run["asked"] == "raw":
            assert run["used"] == "raw"
            assert run["total_ms"] >= 10 + {"A": 48, "B": 294}[run["workload"]], "the link's own time"
    assert done.stdout.count("| 50 Mbit/s | 5 ms |") == len(workloads)
