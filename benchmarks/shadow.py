"""What a shadow costs the policy that drives: ``python benchmarks/shadow.py``.

Two servers in processes of their own, whose models take 20 ms of a device and not of the processor. One drives; the
other is asked the same, or nobody is, in runs that take turns. Two cameras of 480 × 640 and a state. ``arm``: a robot
whose clock goes on, asked ten times a second while it moves. ``full``: one whose clock stands, asked again as soon as
it has played an answer: the shadow is asked while the policy is. ``load``: processors that others used meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from offboard_client import InferenceClient
from offboard_client.drivers import Playing, RunLength, TimedDriver
from offboard_client.play import Report, SafetyLimits, Shadow
from offboard_client.robots import Channel, Robot, RobotSpec, Unjudged, connected
from offboard_core import Chunk, InferenceServer, Policy, Session
from processes import Child, machine_busy_s

RESULTS = Path(__file__).resolve().parent / "results"
#: Seconds of the policy's answer; actions a second, and how many of them an answer has.
THINKING, RATE, ROWS = 0.02, 30, 3


class Holds(Session):
    """Answers after a while that the arm stays."""

    def infer(self, inputs: Any, context: Any) -> Chunk:
        """Always the same."""
        time.sleep(THINKING)
        return Chunk({"target_joints": np.zeros((ROWS, 7))})


class Thinks(Policy[Holds]):
    """A model on a device."""

    meta = {}

    def new_session(self, params: Any) -> Holds:
        """One robot."""
        return Holds()


class Arm(Robot):
    """Two cameras whose pictures are there at once, and joints that stay."""

    def __init__(self, realtime: bool) -> None:
        self.spec = RobotSpec(
            control_period=1 / RATE, simulated=True, plays={"target_joints": Channel(shape=(7,), unit="rad")},
            measures={
                "image.left": Channel(shape=(480, 640, 3), dtype="uint8"),
                "image.right": Channel(shape=(480, 640, 3), dtype="uint8"),
                "robot_state.q": Channel(shape=(7,), unit="rad"),
            },
        )  # fmt: skip
        self.realtime = realtime
        base = np.linspace(0, 200, 640).astype(np.uint8)[None, :, None]
        noise = np.random.default_rng(0).integers(0, 12, (480, 640, 3), np.uint8)
        self._pictures = [np.roll(base + noise, 5 * shift, 1) for shift in range(30)]
        self._number, self._next = 0, 0.0

    def observe(self) -> dict[str, Any]:
        """Of a ring of pictures."""
        self._number += 1
        left, right = (self._pictures[(self._number + camera) % 30] for camera in (0, 7))
        return {"image.left": left, "image.right": right, "robot_state.q": np.zeros(7)}

    def state(self) -> dict[str, Any]:
        """Joints."""
        return {"robot_state.q": np.zeros(7)}

    def apply(self, action: Any, seconds: float) -> None:
        """Waits, where time passes."""
        if self.realtime:
            self._next = max(self._next + seconds, time.perf_counter() - seconds)
            time.sleep(max(0.0, self._next - time.perf_counter()))

    def stop(self) -> None:
        """Nothing moves."""


def run(kind: str, driving: int, shadow: int | None, seconds: float) -> dict[str, Any]:
    """One run: the policy's round trips in ms, those of the shadow, and what others used."""
    report, others = Report(), list[float]()
    with (
        connected(Arm(kind == "arm")) as robot,
        InferenceClient("127.0.0.1", driving).new_session() as session,
        contextlib.ExitStack() as stack,
    ):
        watching: list[Any] = [report]
        if shadow is not None:
            second = Shadow(f"127.0.0.1:{shadow}", lambda answer: others.append(answer.round_trip_ms))
            watching.append(stack.enter_context(second.watching()))
        playing = Playing("prefetch" if kind == "arm" else "sequential")
        driver = TimedDriver(
            session,
            robot,
            Unjudged("hold"),
            limits=SafetyLimits(workspace_low=None, workspace_high=None),
            observers=watching,
            playing=playing,
        )
        busy, own, began = machine_busy_s(), time.process_time(), time.monotonic()
        driver.run(RunLength(seconds=seconds))
        wall = time.monotonic() - began
        load = (machine_busy_s() - busy - (time.process_time() - own)) / wall
        missed = sum(loss.dropped for loss in driver.losses)
    return {"trips": report.round_trips_ms[5:], "shadow": others, "missed": missed, "load": load}


def serve() -> None:
    """Until the parent ends it."""
    with InferenceServer({"it": Thinks}, port=0, fps=RATE) as server:
        print(json.dumps({"port": server.port}), flush=True)
        sys.stdin.read()


def main() -> None:
    """Measure, print, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help="be one of the servers")
    parser.add_argument("--rounds", type=int, default=7, help="runs of each kind, with and without")
    parser.add_argument("--exchanges", type=int, default=300, help="of a run of `full`; a third of it of `arm`")
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    results: dict[str, Any] = {}
    with Child("shadow.py", "--serve") as one, Child("shadow.py", "--serve") as other:
        ports = one.hear()["port"], other.hear()["port"]
        for kind, seconds in (("arm", options.exchanges / 30), ("full", options.exchanges / 10)):
            rounds: list[dict[bool, Any]] = []
            for number in range(options.rounds + 1):
                order = (False, True) if number % 2 else (True, False)
                rounds.append({on: run(kind, ports[0], ports[1] if on else None, seconds) for on in order})
            rounds = rounds[1:]  # the first warms up
            figures = {
                name: [{on: float(np.percentile(each[on]["trips"], share)) for on in each} for each in rounds]
                for name, share in (("p50", 50), ("p99", 99))
            }
            results[kind] = {
                **{
                    f"{name}_{'with' if on else 'without'}_ms": float(np.median([each[on] for each in found]))
                    for name, found in figures.items()
                    for on in (False, True)
                },
                **{
                    f"{name}_ratios": sorted(round(each[True] / each[False], 3) for each in found)
                    for name, found in figures.items()
                },
                "asked": sum(len(each[True]["trips"]) for each in rounds),
                "shadow_answered": sum(len(each[True]["shadow"]) for each in rounds),
                "shadow_missed": sum(each[True]["missed"] for each in rounds),
                "load": float(np.median([each[on]["load"] for each in rounds for on in each])),
            }
    print(json.dumps(results, indent=1))
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "shadow.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
