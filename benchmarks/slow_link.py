"""What an exchange takes over a slow link, images raw and ``images="auto"``: ``python benchmarks/slow_link.py``.

A server in a process of its own behind a link of so many megabits a second and so much delay each way, with two
images of 224 x 224 and two of 480 x 640 that have a camera's noise. ``auto`` decides in what does not count.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from offboard_client import InferenceClient
from processes import Child
from workloads import LABELS, observations

#: Megabits per second (0: no limit), and milliseconds each way.
MBIT, DELAYS_MS = (0.0, 20.0, 100.0), (5.0, 30.0)
WORKLOADS = ("A", "B")
#: Exchanges that do not count.
WARM = 6
NOISE = 3.0
RESULTS = Path(__file__).resolve().parent / "results"


@dataclass
class Measured:
    """``total_ms``, ``encode_ms``: medians of an exchange, and of its part until it is sent. ``used``: in the end."""

    mbit: float
    delay_ms: float
    workload: str
    asked: str
    used: str
    total_ms: float
    encode_ms: float
    said: list[str]


def noisy(workload: str) -> list[dict[str, Any]]:
    """The workload's observations with a camera's noise."""
    random = np.random.default_rng(0)

    def seen(value: Any) -> Any:
        if not isinstance(value, np.ndarray) or value.dtype != np.uint8:
            return value
        return (value + random.normal(0, NOISE, value.shape)).clip(0, 255).astype(np.uint8)

    return [{name: seen(value) for name, value in one.items()} for one in observations(workload)]


def measure(mbit: float, delay_ms: float, workload: str, asked: str, requests: int) -> Measured:
    """One session."""
    said = list[str]()
    with (
        Child("link_server.py", f"{mbit}", f"{delay_ms}") as server,
        InferenceClient(
            "127.0.0.1", server.hear()["port"], images=asked, on_notice=said.append, shared_memory=False
        ) as client,
        client.new_session() as session,
    ):
        stages = list[dict[str, float]]()
        for observation in islice(cycle(noisy(workload)), WARM + requests):
            session.infer(observation)
            stages.append(session.timing.last)
        total, encode = (float(np.median([one[name] for one in stages[WARM:]])) for name in ("total_ms", "encode_ms"))
        return Measured(mbit, delay_ms, workload, asked, session.images, total, encode, said)


def table(runs: list[Measured]) -> str:
    """As it stands in the documentation."""
    lines = [
        "| link | delay each way | observation | raw, ms | auto, ms | | sent as |",
        "|---|---|---|---|---|---|---|",
    ]
    for raw, auto in zip(runs[::2], runs[1::2], strict=True):
        link = f"{raw.mbit:.0f} Mbit/s" if raw.mbit else "no limit"
        lines.append(
            f"| {link} | {raw.delay_ms:.0f} ms | {LABELS[raw.workload]} | {raw.total_ms:.3g} | {auto.total_ms:.3g} | "
            f"{raw.total_ms / auto.total_ms:.1f}× | {auto.used} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write it."""
    parser = argparse.ArgumentParser(description="What an exchange takes over a slow link, raw and with images auto.")
    parser.add_argument("--mbit", nargs="+", type=float, default=list(MBIT), help="megabits a second; 0: no limit")
    parser.add_argument("--delay", nargs="+", type=float, default=list(DELAYS_MS), help="milliseconds each way")
    parser.add_argument("--requests", type=int, default=24, help="exchanges that count")
    parser.add_argument(
        "--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), help="two small images, or two large"
    )
    parser.add_argument("--output", type=Path, default=RESULTS / "slow_link.json", help="where the results go")
    options = parser.parse_args()
    runs: list[Measured] = []
    for mbit in options.mbit:
        for delay in options.delay:
            for workload in options.workloads:
                for asked in ("raw", "auto"):
                    runs.append(measure(mbit, delay, workload, asked, options.requests))
                    print(json.dumps(asdict(runs[-1])), flush=True)
    print(table(runs))
    print(f"{os.cpu_count()} processors; load average {os.getloadavg()[0]:.1f}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps([asdict(run) for run in runs], indent=1))


if __name__ == "__main__":
    main()
