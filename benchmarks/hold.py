"""What has to hold in every mode: memory that is flat, robots that cost the same each, bytes that cost the same each.

``python benchmarks/hold.py``; Linux only. The figures are processor time where they can be, which other work on the
machine makes little worse.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import footprint
import robots
from latency import start
from quiet import Quiet
from report import table
from workloads import LARGE, mebibytes

MODES = {
    "offboard": "socket",
    "offboard_at_once": "socket, at once",
    "offboard_shared": "shared memory",
    "offboard_shared_at_once": "shared memory, at once",
    "offboard_aio": "socket, asyncio client",
    "offboard_tls": "TLS",
}
PARTS = ("memory", "robots", "sizes")
#: How many robots a server has.
ROBOTS = (1, 8, 64)


def main() -> None:
    """Measure what was asked for, and print it."""
    options = _options()
    found: dict[str, Any] = {}
    for part in options.only:
        found[part] = {mode: _MEASURED[part](mode, options) for mode in options.modes}
        print(f"{_SHOWN[part](found[part])}\n", flush=True)
    if options.output is not None:
        options.output.write_text(json.dumps(found, indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what has to hold in every mode.")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES), metavar="MODE", help=", ".join(MODES))
    parser.add_argument("--steps", type=int, default=100_000, help="steps of the memory measurement")
    parser.add_argument("--robots", nargs="+", type=int, default=list(ROBOTS), help="how many robots, in turn")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of robots and sizes")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a block")
    parser.add_argument("--output", type=Path, help="where everything goes as JSON")
    return parser.parse_args()


def _memory(mode: str, options: argparse.Namespace) -> dict[str, Any]:
    return footprint.memory(mode, options.steps)


def _robots(mode: str, options: argparse.Namespace) -> dict[str, Any]:
    quiet = Quiet(0)
    measured = {n: robots.measure([mode], n, options.rounds, options.seconds, quiet)[mode] for n in options.robots}
    return {str(n): {"cpu_us": [each["client_cpu_us"], each["server_cpu_us"]]} for n, each in measured.items()}


def _sizes(mode: str, options: argparse.Namespace) -> dict[str, Any]:
    """By size: milliseconds of an exchange at p50, and of both ends' processors, medians over the rounds."""
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in LARGE}
    with ExitStack() as stack:
        server, (worker,) = start(stack, mode)
        for name in LARGE:
            worker.ask({"do": "check", "workload": name})
        for _ in range(options.rounds):
            for name, taken in rounds.items():
                before = server.spent().cpu_us + worker.spent().cpu_us
                block = worker.ask({"do": "block", "workload": name, "seconds": options.seconds, "start": None})
                spent = server.spent().cpu_us + worker.spent().cpu_us - before
                calls = len(block["durations_us"])
                taken.append((median(block["durations_us"]) / 1e3, spent / 1e3 / (calls + block["warm_up"])))
    return {
        name: {"p50_ms": median(p50 for p50, _ in taken), "cpu_ms": median(cpu for _, cpu in taken)}
        for name, taken in rounds.items()
    }


def _show_memory(found: dict[str, Any]) -> str:
    rows = [
        (
            MODES[mode],
            f"{each['steps']:,}",
            f"{each['first_mib']:.1f} to {each['last_mib']:.1f}",
            f"{each['bytes_per_step']:+.2f}",
            f"{each['client_bytes_per_step']:+.2f}",
        )
        for mode, each in found.items()
    ]
    return table(("mode", "steps", "server, MiB", "server, bytes a step", "client, bytes a step"), rows)


def _show_robots(found: dict[str, Any]) -> str:
    counts = list(next(iter(found.values())))
    rows = [
        (MODES[mode], *(" + ".join(f"{end:.0f}" for end in each[n]["cpu_us"]) for n in counts))
        for mode, each in found.items()
    ]
    return table(("µs of client + server", *(f"robots: {n}" for n in counts)), rows)


def _show_sizes(found: dict[str, Any]) -> str:
    def shown(name: str, each: dict[str, Any]) -> str:
        size = mebibytes(name)
        return f"{each['p50_ms'] / size:.2f}, {each['cpu_ms'] / size:.2f}"

    rows: list[Sequence[str]] = [
        (MODES[mode], *(shown(name, by_size[name]) for name in LARGE)) for mode, by_size in found.items()
    ]
    return table(("ms for each MiB: p50, processors", *(f"{mebibytes(name):.1f} MiB" for name in LARGE)), rows)


_MEASURED = {"memory": _memory, "robots": _robots, "sizes": _sizes}
_SHOWN = {"memory": _show_memory, "robots": _show_robots, "sizes": _show_sizes}


if __name__ == "__main__":
    main()
