"""What ``--recording-dir`` costs a served exchange: ``python benchmarks/served_recording.py``.

Two servers, one of which records, each in a process of its own, are asked in turns: two cameras of 480 × 640 that move
and have noise, a state, and a chunk of 50 × 14 from a policy that takes 20 ms of a device, not of the processor. At 10
observations per second, and as fast as it goes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from offboard_client import InferenceClient
from offboard_core import Chunk, InferenceServer, Policy, Session
from processes import Child

#: Seconds of the policy's answer.
THINKING = 0.02
RATES = (10.0, 0.0)


class Waits(Session):
    """Answers after a while."""

    def infer(self, inputs: Any, context: Any) -> Chunk:
        """Always the same."""
        time.sleep(THINKING)
        return Chunk({"target_joints": np.zeros((50, 14))})


class Thinks(Policy[Waits]):
    """A model on a device."""

    meta = {}

    def new_session(self, params: Any) -> Waits:
        """One episode."""
        return Waits()


def serve(folder: str | None) -> None:
    """Until the parent ends it."""
    with InferenceServer({"it": Thinks}, port=0, recording_dir=folder) as server:
        print(json.dumps({"port": server.port}), flush=True)
        sys.stdin.read()


def ask(session: Any, count: int, rate: float, cameras: list[Any]) -> list[tuple[float, float]]:
    """Round trips and the server's part of them, in ms."""
    taken: list[tuple[float, float]] = []
    due = time.perf_counter()
    for number in range(count):
        wrist, exterior = (camera[number % len(camera)] for camera in cameras)
        due += 1 / rate if rate else 0.0
        time.sleep(max(0.0, due - time.perf_counter()))
        start = time.perf_counter()
        session.infer({"image.wrist": wrist, "image.exterior": exterior, "robot_state.q": np.full(14, float(number))})
        taken.append(((time.perf_counter() - start) * 1e3, session.timing.last["server.total_ms"]))
    return taken


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", metavar="DIR", nargs="?", const="")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--count", type=int, default=40)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve or None)
        return
    draw = np.random.default_rng(0)
    base = np.linspace(0, 200, 640).astype(np.uint8)[None, :, None] + draw.integers(0, 12, (480, 640, 3), np.uint8)
    cameras = [[np.roll(base, 5 * shift + camera, 1) for shift in range(30)] for camera in range(2)]
    with tempfile.TemporaryDirectory() as folder, Child("served_recording.py", "--serve", folder) as recorded:
        with Child("served_recording.py", "--serve") as plain:
            ports = {"plain": plain.hear()["port"], "recorded": recorded.hear()["port"]}
            sessions = {name: InferenceClient("127.0.0.1", port).new_session() for name, port in ports.items()}
            for session in sessions.values():
                ask(session, 20, 0.0, cameras)
            print(f"{'rate':>6} {'':<10} {'p50':>7} {'p99':>7}   {'server p50':>10} {'p99':>7}  ms")
            for rate in RATES:
                found: dict[str, list[tuple[float, float]]] = {name: [] for name in sessions}
                for _ in range(options.rounds):
                    for name, session in sessions.items():
                        found[name] += ask(session, options.count, rate, cameras)
                for name, taken in found.items():
                    (p50, own50), (p99, own99) = np.percentile(taken, (50, 99), axis=0)
                    said = f"{rate:g} Hz" if rate else "full"
                    print(f"{said:>6} {name:<10} {p50:7.2f} {p99:7.2f}   {own50:10.2f} {own99:7.2f}")
            for session in sessions.values():
                session.close()
        files = list(Path(folder).glob("*.mcap"))
        size, asked = sum(path.stat().st_size for path in files), (len(RATES) * options.rounds * options.count + 20)
        print(f"{size / 1e6:.0f} MB for {asked} exchanges or fewer, {size / asked / 1e3:.0f} kB each")


if __name__ == "__main__":
    main()
