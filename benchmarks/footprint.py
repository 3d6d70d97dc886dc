"""What the software itself takes: the server's memory over many steps, and the time of its imports."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

from latency import start

WORKLOAD = "A"

#: Memory is read this many times; the first fifth is warm-up and does not count.
_SAMPLES = 40


def memory(peer: str, steps: int) -> dict[str, Any]:
    """Resident memory of a server, and of its client, while one robot takes ``steps`` steps on workload A."""
    with ExitStack() as stack:
        server, (worker,) = start(stack, peer)
        worker.ask({"do": "check", "workload": WORKLOAD})
        done = [0]
        resident, clients = [server.resident_bytes()], [worker.resident_bytes()]
        for _ in range(_SAMPLES):
            taken = worker.ask({"do": "steps", "workload": WORKLOAD, "count": max(1, steps // _SAMPLES)})["steps"]
            done.append(done[-1] + taken)
            resident.append(server.resident_bytes())
            clients.append(worker.resident_bytes())
    settled = len(done) // 5
    slope = linear_regression(done[settled:], resident[settled:]).slope
    return {
        "steps": done[-1],
        "first_mib": resident[settled] / 2**20,
        "last_mib": resident[-1] / 2**20,
        "bytes_per_step": slope,
        "client_bytes_per_step": linear_regression(done[settled:], clients[settled:]).slope,
        "resident_bytes": resident,
    }


def start_times(repeats: int) -> dict[str, Any]:
    """Seconds that the light commands and imports take, the interpreter's own start included and shown beside."""
    offboard = str(Path(sys.executable).with_name("offboard"))
    commands = {
        "python": [sys.executable, "-c", "pass"],
        "import numpy": [sys.executable, "-c", "import numpy"],
        "import InferenceClient": [sys.executable, "-c", "from offboard_client import InferenceClient"],
        "offboard --help": [offboard, "--help"],
        "offboard plugins": [offboard, "plugins"],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=120)
            taken[name].append(time.perf_counter() - began)
    return {name: {"median_s": median(times), "runs_s": times} for name, times in taken.items()}
