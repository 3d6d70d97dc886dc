"""How evenly an arm is commanded while its policy thinks: ``python benchmarks/play_jitter.py``.

The simulated arm at wall speed, whose policy needs no camera, against a server in a process of its own that thinks for
100 ms: at 15, 30 and 50 actions per second, and at 50 with 120 ± 40 ms of network. For each way to play its answers:
how much the time between two set-points differs from the control period, the share of time that the arm waited once it
had begun to move, the share that it was kept from its set-points, and how large the largest step from one answer to the
next was beside the largest within one.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from offboard_client import InferenceClient
from offboard_client.drivers import Playing, RunLength, TimedDriver
from offboard_client.play import Answer, EpisodeInfo, Outcome, Report, SafetyLimits, Tick
from offboard_client.robots import Unjudged, connected
from offboard_client.robots.sim import SimRobot
from processes import Child, machine_busy_s

STRATEGIES = ("sequential", "prefetch", "latest", "rtc")
#: Seconds of a policy's answer; and of the network, how long and give or take how much.
THINKING, NETWORK = 0.1, (0.12, 0.04)
#: Actions per second, and the network.
CASES = ((15, (0.0, 0.0)), (30, (0.0, 0.0)), (50, (0.0, 0.0)), (50, NETWORK))
RESULTS = Path(__file__).resolve().parent / "results"


@dataclass
class Measured:
    """Deviations in ms; shares of 1. ``late``: what set-points took beyond a control period each. ``steps``: the
    largest from one answer to the next over the largest within one.

    ``load``: the processors that other processes used meanwhile.
    """

    chunks: str
    rate: int
    network_ms: float
    p50_ms: float
    p99_ms: float
    worst_ms: float
    waited: float
    late: float
    steps: float | None
    answers: int
    round_trip_ms: float | None
    load: float
    failure: str | None


class Commanded(SimRobot):
    """Says where it was sent last, from which the policy goes on."""

    def observe(self) -> dict[str, Any]:
        """With ``sim.set_point`` (7,), rad."""
        return super().observe() | {"sim.set_point": np.array(self._data.ctrl[:7])}


class Moves:
    """Watches a run: how long the arm waited, and how far it went at once."""

    def __init__(self) -> None:
        self.waited = self.moving = 0.0
        self.began: float | None = None
        self._before: Any = None
        self._fresh = False
        self.steps: dict[bool, float] = {}

    def started(self, episode: EpisodeInfo) -> None:
        """Nothing."""

    def answered(self, answer: Answer) -> None:
        """The next action is of another answer."""
        self._fresh = True

    def ticked(self, tick: Tick) -> None:
        """One command."""
        if tick.command.action:
            self.began = tick.at if self.began is None else self.began
            target = tick.command.action["target_joints"]
            if self._before is not None:
                speed = float(np.abs(target - self._before).max()) / tick.command.seconds
                self.steps[self._fresh] = max(self.steps.get(self._fresh, 0.0), speed)
            self._before, self._fresh = target, False
        if self.began is not None:
            self.moving += tick.command.seconds
            self.waited += tick.command.seconds if tick.rung == "hold" else 0.0

    def ended(self, outcome: Outcome) -> None:
        """Nothing."""


def measure(chunks: str, rate: int, network: tuple[float, float], seconds: float) -> Measured:
    """One run."""
    moves, report = Moves(), Report()
    with (
        Child("play_server.py", f"{THINKING}", f"{rate}", *map(str, network)) as server,
        connected(Commanded(clock="real", camera_rate=2)) as robot,
        InferenceClient("127.0.0.1", server.hear()["port"], shared_memory=False).new_session() as session,
    ):
        assert robot.grid is not None
        driver = TimedDriver(
            session, robot, Unjudged("go on"), limits=SafetyLimits(), observers=[moves, report], playing=Playing(chunks)
        )
        busy, own, began = machine_busy_s(), time.process_time() + server.cpu_s(), time.monotonic()
        driver.run(RunLength(seconds=seconds))
        wall = time.monotonic() - began
        load = (machine_busy_s() - busy - (time.process_time() + server.cpu_s() - own)) / wall
        times = np.array([at for at in robot.grid.times if moves.began is not None and at >= moves.began])
    gaps = np.diff(times) - robot.control_period
    away = 1000 * np.abs(gaps) if len(gaps) else np.array([np.nan])
    p50, p99, worst = (float(value) for value in np.percentile(away, [50, 99, 100]))
    late = max(float(gaps.sum() / (times[-1] - times[0])), 0.0) if len(gaps) else float("nan")
    waited = moves.waited / moves.moving if moves.moving else float("nan")
    within, between = moves.steps.get(False), moves.steps.get(True)
    trips = report.round_trips_ms
    return Measured(
        chunks, rate, 1000 * network[0], p50, p99, worst, waited, late,
        between / within if within and between else None, len(trips), float(np.median(trips)) if trips else None,
        load, None if report.episodes[-1].failure is None else report.episodes[-1].failure[1],
    )  # fmt: skip


def table(runs: list[Measured]) -> str:
    """As it stands in the documentation."""
    lines = [
        "| actions/s | network | `--chunks` | p50 | p99 | worst | waited | late | step |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        network = f"{run.network_ms:.0f} ms" if run.network_ms else "-"
        step = "-" if run.steps is None else f"{run.steps:.2f}"
        lines.append(
            f"| {run.rate} | {network} | `{run.chunks}` | {run.p50_ms:.2f} | {run.p99_ms:.1f} | {run.worst_ms:.0f} | "
            f"{100 * run.waited:.0f} % | {100 * run.late:.0f} % | {step} |" + (f" {run.failure}" if run.failure else "")
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write it."""
    parser = argparse.ArgumentParser(description="How evenly an arm is commanded while its policy thinks.")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a run")
    parser.add_argument(
        "--chunks", nargs="+", choices=STRATEGIES, default=list(STRATEGIES), help="how answers are played"
    )
    cases = list(range(len(CASES)))
    parser.add_argument("--cases", nargs="+", type=int, choices=cases, default=cases, help="which, in their order")
    parser.add_argument("--output", type=Path, default=RESULTS / "play_jitter.json", help="where the results go")
    options = parser.parse_args()
    runs: list[Measured] = []
    for rate, network in (CASES[case] for case in options.cases):
        for chunks in options.chunks:
            runs.append(measure(chunks, rate, network, options.seconds))
            print(json.dumps(asdict(runs[-1])), flush=True)
    print(table(runs))
    load = sum(run.load for run in runs) / len(runs)
    print(f"{os.cpu_count()} processors, of which others used {load:.1f}; load average {os.getloadavg()[0]:.1f}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"runs": [asdict(run) for run in runs], "load": load}, indent=1))


if __name__ == "__main__":
    main()
