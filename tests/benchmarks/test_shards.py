"""The benchmark of an evaluation's shards, so briefly that no time means anything."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "shards.py"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it reads /proc")]


@pytest.mark.parametrize("more", [[], ["--packed"]], ids=["packing", "packed"])
def test_each_policy_is_measured_with_one_and_with_all(tmp_path: Path, more: list[str]) -> None:
    path = tmp_path / "results.json"
    tiny = ["--shards", "3", "--rounds", "1", "--seconds", "0.01", "--budget", "0", "--output", path, *more]
    done = subprocess.run([sys.executable, SCRIPT, *tiny], check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(path.read_text())
    cases = [(run["policy"], run["workload"], run["robots"]) for run in results["runs"]]
    assert cases == [(policy, workload, 3) for policy in ("sleep", "long") for workload in ("C", "A")]
    assert all(run[who]["requests_per_second"] > 0 for run in results["runs"] for who in ("one", "many"))
    assert len([line for line in done.stdout.splitlines() if line.endswith(" × |")]) == 4
