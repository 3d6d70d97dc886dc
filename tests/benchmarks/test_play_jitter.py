"""The benchmark of an arm that is played in real time, so briefly that no time means anything."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "play_jitter.py"

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it reads /proc")


CASES = [(15, 0), (30, 0), (50, 0), (50, 120)]


@pytest.mark.parametrize(
    "cases", [pytest.param([0, 3], id="one of each"), pytest.param([0, 1, 2, 3], id="all", marks=pytest.mark.slow)]
)
def test_every_case_is_measured_and_written_and_printed_as_the_documentation_has_it(
    tmp_path: Path, cases: list[int]
) -> None:
    path = tmp_path / "results.json"
    done = subprocess.run(
        [sys.executable, SCRIPT, "--seconds", "3", "--chunks", "latest", "--cases", *map(str, cases), "--output", path],
        check=False, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    runs = json.loads(path.read_text())["runs"]
    assert [(run["rate"], run["network_ms"]) for run in runs] == [CASES[case] for case in cases]
    for run in runs:
        assert run["answers"] >= 1, run
        assert run["round_trip_ms"] >= 100 + (80 if run["network_ms"] else 0), "the policy's time, and the network's"
    assert done.stdout.count("| `latest` |") == len(cases)
