"""Measure offboard, its limits and a peer, interleaved on this machine: ``python benchmarks/run.py``.

Prints tables with the targets beside the figures and writes everything as JSON. Ratios within one run are what
to compare; milliseconds belong to the machine. Linux only: it reads ``/proc`` to notice other processes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import footprint
import latency
import report
import robots
from peers import ALONE, OTHERS, PEERS
from processes import PYTHONS
from quiet import Quiet

PARTS = ("latency", "robots", "batching", "memory", "start")
RESULTS = Path(__file__).resolve().parent / "results"


def main() -> None:
    """Measure what was asked for, print and write it."""
    options = _options()
    PYTHONS.update(pair.split("=", 1) for pair in options.python)
    quiet = Quiet(options.budget)
    results: dict[str, Any] = {"settings": {**vars(options), "output": str(options.output)}}
    if "latency" in options.only:
        _say("one robot at a time")
        results["latency"] = latency.measure(options.peers, options.rounds, options.instances, options.seconds, quiet)
    if "robots" in options.only:
        _say(f"{options.robots} robots at once")
        several = [peer for peer in options.peers if peer not in ALONE]
        results["robots"] = robots.measure(several, options.robots, options.rounds, 5 * options.seconds, quiet)
    if report.OURS in options.peers:
        if "batching" in options.only:
            _say(f"{options.robots} robots on a policy that batches")
            results["batching"] = robots.batching(
                report.OURS, options.robots, options.rounds, 5 * options.seconds, quiet
            )
        if "memory" in options.only:
            _say("the server's memory")
            results["memory"] = footprint.memory(report.OURS, options.steps)
    if "start" in options.only:
        _say("start-up times")
        results["start"] = footprint.start_times(options.rounds)
    results["machine"] = _machine(quiet)
    results["targets"] = report.as_json(report.targets(results))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(results, indent=1))
    print(report.text(results))
    _say(f"written to {options.output}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure offboard, its limits and a peer, interleaved on this machine."
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument(
        "--peers", nargs="+", choices=[*PEERS, *OTHERS], default=list(PEERS), help="the peers to measure"
    )
    parser.add_argument(
        "--python", nargs="+", default=[], metavar="PEER=PATH", help="interpreters of peers that have their own"
    )
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds")
    parser.add_argument("--instances", type=int, default=3, help="servers per peer, one robot at a time")
    parser.add_argument(
        "--seconds", type=float, default=0.3, help="length of a block; five times that for several robots"
    )
    parser.add_argument("--robots", type=int, default=8, help="how many are several; the targets are those of 8")
    # The client keeps the times of 4096 steps, and the first fifth does not count.
    parser.add_argument("--steps", type=int, default=30_000, help="steps of the memory measurement")
    parser.add_argument(
        "--budget", type=float, default=180, help="seconds to spend on measuring disturbed blocks again"
    )
    parser.add_argument("--output", type=Path, default=RESULTS / "latest.json", help="where the results go")
    return parser.parse_args()


def _machine(quiet: Quiet) -> dict[str, Any]:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "processor": models[0] if models else platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("msgpack", "numpy", "uvicorn", "uvloop", "websockets")},
        "repeated": quiet.repeated,
    }


def _say(what: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {what}", flush=True)


if __name__ == "__main__":
    main()
