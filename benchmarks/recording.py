"""What recording costs the arm, and what a long recording is like: ``python benchmarks/recording.py``.

``arm``: the simulated arm at wall speed with both cameras at 30 Hz, played 30 actions a second by a server of its own
process that thinks for 100 ms, with and without a recording in turn: how much the time between two set-points differs
from the control period, and the processor time that it takes. ``long``: half an hour of two cameras of 480 × 640 at
30 Hz, asked five times a second, written as fast as it goes: bytes, memory, and how long it takes to open it and to
show a second in the middle.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from offboard_client import InferenceClient
from offboard_client.drivers import Playing, RunLength, TimedDriver
from offboard_client.play import Answer, Bounded, Command, EpisodeInfo, Outcome, SafetyLimits, Sample, Tick
from offboard_client.recording import Episode, Recorder, VideoDecoder, starts
from offboard_client.robots import Unjudged, connected
from play_jitter import RESULTS, THINKING, Commanded
from processes import Child

RATE = 30


def arm(recorded: bool, seconds: float, folder: Path) -> dict[str, float]:
    """One run; milliseconds, and the robot's share of a processor."""
    recorder = Recorder(folder, {})
    with (
        Child("play_server.py", f"{THINKING}", f"{RATE}", "0", "0") as server,
        connected(Commanded(clock="real", camera_rate=RATE)) as robot,
        InferenceClient("127.0.0.1", server.hear()["port"]).new_session() as session,
        Bounded(recorder, 65536, most=256 << 20) as bounded,
    ):
        assert robot.grid is not None
        driver = TimedDriver(
            session, robot, Unjudged("go on"), limits=SafetyLimits(), playing=Playing("prefetch"),
            observers=[bounded] if recorded else [],
        )  # fmt: skip
        busy, began = time.process_time(), time.monotonic()
        driver.run(RunLength(seconds=seconds))
        share = (time.process_time() - busy) / (time.monotonic() - began)
        away = 1000 * np.abs(np.diff(robot.grid.times) - robot.control_period)
        dropped = bounded.loss.dropped
    p50, p99, worst = (float(value) for value in np.percentile(away, [50, 99, 100]))
    return {"p50_ms": p50, "p99_ms": p99, "worst_ms": worst, "cpu": share, "dropped": dropped}


def scene(number: int) -> Any:
    """(480, 640, 3) uint8: what a fixed camera sees of something that moves, with a sensor's noise."""
    picture = _SCENES[number % len(_SCENES)].copy()
    x, y = int(320 + 250 * np.sin(number / 40)), int(240 + 150 * np.cos(number / 55))
    picture[y - 40 : y + 40, x - 40 : x + 40] = (200, 60, 40)
    return picture


def long(minutes: float, folder: Path) -> dict[str, float]:
    """Write and read it."""
    recorder, frames = Recorder(folder, {}), int(minutes * 60 * RATE)
    recorder.started(EpisodeInfo(1, 0, 60 * minutes, 1 / RATE, 1 / RATE, {}, 0.0, 1.8e9))
    before, began, busy = _memory_mb(), time.monotonic(), time.process_time()
    making = 0.0
    for number in range(frames):
        at, asked, start = number / RATE, number % 6 == 0, time.process_time()
        seen = {
            "image.left": scene(number), "image.right": scene(number + 7),
            "robot_state.q": np.sin(np.arange(7) + at), "robot_state.ee_pose": np.array([0.4, 0.1, 0.3, 1, 0, 0, 0.0]),
        }  # fmt: skip
        making += time.process_time() - start
        recorder.sampled(Sample(seen, at, at, 1.0, {}, asked))
        action = {"target_joints": np.sin(np.arange(7) + at)}
        if asked:
            rows = [{"timestamp": row / RATE, "action": action} for row in range(30)]
            recorder.answered(Answer(seen, rows, at, 1.0, 50.0, {}))
        recorder.ticked(Tick(Command(action, 1 / RATE, 0), "playing", at, at, seen, 1.0))
    wrote = time.process_time() - busy - making
    recorder.ended(Outcome(True))
    path = recorder.recorded.files[0]
    done = {
        "minutes": minutes, "gb": path.stat().st_size / 1e9, "gb_per_hour": path.stat().st_size / 1e9 * 60 / minutes,
        "write_share": wrote / (60 * minutes), "wall_s": time.monotonic() - began, "grown_mb": _memory_mb() - before,
    }  # fmt: skip
    read = subprocess.run([sys.executable, __file__, "read", str(path)], check=True, capture_output=True)
    return {**done, **json.loads(read.stdout)}


def read(path: Path) -> dict[str, float]:
    """In a fresh process: open it, and show a second in the middle, of both cameras."""
    before, began = _memory_mb(), time.perf_counter()
    with Episode(path) as episode:
        opened = time.perf_counter()
        middle = (episode.start + episode.end) // 2
        shown = 0
        for camera in ("left", "right"):
            # From the last key frame before: they are at most 30 frames apart.
            packets = list(episode.messages([f"/video/{camera}"], middle - 1_100_000_000, middle + 1_000_000_000))
            first = max(i for i, said in enumerate(packets) if said.at <= middle and starts(said.message.data))
            decoder = VideoDecoder()
            shown += sum(len(list(decoder.decode(said.message.data))) for said in packets[first:])
        sought = time.perf_counter()
        plotted = sum(1 for _ in episode.messages(["/observation/robot_state/q"], middle, middle + 60_000_000_000))
        minute = time.perf_counter()
    return {
        "open_ms": 1000 * (opened - began), "seek_ms": 1000 * (sought - opened), "frames": shown,
        "minute_of_joints_ms": 1000 * (minute - sought), "joints": plotted, "read_mb": _memory_mb() - before,
    }  # fmt: skip


def _memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


_RNG = np.random.default_rng(0)
_Y, _X = np.mgrid[0:480, 0:640]
_BACKGROUND = (
    np.stack([_X / 5 + 60, _Y / 4 + 50, (_X + _Y) / 8 + 40], -1) + 20 * (((_X // 40) + (_Y // 40)) % 2)[..., None]
)
_SCENES = [np.clip(_BACKGROUND + _RNG.normal(0, 2, (480, 640, 3)), 0, 255).astype(np.uint8) for _ in range(16)]


def main() -> None:
    """Measure, print and write it."""
    parser = argparse.ArgumentParser(description="What recording costs, and what a long recording is like.")
    parser.add_argument("what", nargs="?", choices=("arm", "long", "read", "both"), default="both")
    parser.add_argument("path", nargs="?", type=Path, help="of `read`: a recording")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a run of `arm`")
    parser.add_argument("--rounds", type=int, default=5, help="runs of `arm`, each with and without")
    parser.add_argument("--minutes", type=float, default=30.0, help="of `long`")
    options = parser.parse_args()
    if options.what == "read":
        print(json.dumps(read(options.path)))
        return
    results: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp(prefix="offboard-recording-"))
    try:
        if options.what in ("arm", "both"):
            rounds = [{on: arm(on, options.seconds, folder) for on in (False, True)} for _ in range(options.rounds)]
            results["arm"] = {
                name: {key: float(np.median([each[on][key] for each in rounds])) for key in rounds[0][on]}
                for name, on in (("unrecorded", False), ("recorded", True))
            }
        if options.what in ("long", "both"):
            results["long"] = long(options.minutes, folder)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(results, indent=1))
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "recording.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
