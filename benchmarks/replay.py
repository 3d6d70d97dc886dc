"""How quick ``offboard replay`` is where there is much to look at: ``python benchmarks/replay.py``.

``list``: 500 episodes of 15 s with two cameras, listed as the page does: first, and again; beside it what it would take
to read every file's index. ``hour``: one episode of an hour with two cameras of 480 × 640 at 30 Hz: opened, a
second in the middle of both cameras, its curves as a whole and 20 s of them. What is asked of it is asked as the page
does, without a network; bytes read are those of the process, whatever the disk's cache has.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from offboard_client.pages import Replay, pages_app
from offboard_client.play import Answer, Command, EpisodeInfo, Outcome, Sample, Tick
from offboard_client.recording import Episode, Recorder, glance

RATE = 30
RESULTS = Path(__file__).parent / "results" / "replay.json"


def episode(folder: Path, seconds: float, height: int, width: int) -> Path:
    """One, with two cameras whose pictures have a sensor's noise."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    ground = np.stack([x / 5 + 60, y / 4 + 50, (x + y) / 8 + 40], -1)
    noise = [random.normal(0, 2, ground.shape) for _ in range(8)]
    recorder = Recorder(folder, {"task": "stack", "command": "offboard run sim"})
    meta = {"checkpoint_id": "10000", "codec": "ee"}
    recorder.started(EpisodeInfo(1, 0, seconds, 1 / RATE, 1 / RATE, meta, 0.0, 1.8e9))
    for number in range(round(seconds * RATE)):
        at = number / RATE
        pictures = [np.clip(ground + noise[(number + i) % 8], 0, 255).astype(np.uint8) for i in range(2)]
        for picture in pictures:
            left = number * 3 % (width - 30)
            picture[20:50, left : left + 30] = (200, 60, 40)
        seen = {
            "image.left": pictures[0], "image.right": pictures[1], "robot_state.q": np.sin(np.arange(7) + at),
            "robot_state.ee_pose": np.array([0.4, 0.1, 0.3, 1, 0, 0, 0.0]), "grip": np.array([0.5]),
        }  # fmt: skip
        asked = number % 15 == 0
        recorder.sampled(Sample(seen, at, at, 1.0, {}, asked))
        action = {"target_joints": np.sin(np.arange(7) + at), "target_grip": np.array([0.5])}
        if asked:
            rows = [{"timestamp": row / RATE, "action": action} for row in range(30)]
            recorder.answered(Answer(seen, rows, at, 1.0, 20.0, {}))
        recorder.ticked(Tick(Command(action, 1 / RATE, 0), "playing", at, at, seen, 1.0))
    recorder.ended(Outcome(True))
    return recorder.recorded.files[0]


def repeated(path: Path, times: int, out: Path) -> None:
    """A recording ``times`` as long: its messages again and again, later each time, in the recorder's blocks."""
    with path.open("rb") as file, out.open("wb") as written:
        reader = make_reader(file)
        summary, header = reader.get_summary(), reader.get_header()
        assert summary is not None
        assert summary.statistics is not None
        said = {record.name: dict(record.metadata) for record in reader.iter_metadata()}
        messages = list(reader.iter_messages())
        first, last = summary.statistics.message_start_time, summary.statistics.message_end_time
        length = last - first + 10**9 // RATE
        writer = Writer(written, chunk_size=1 << 30, compression=CompressionType.ZSTD)
        writer.start(profile=header.profile)
        schemas = {
            each.id: writer.register_schema(each.name, each.encoding, each.data) for each in summary.schemas.values()
        }
        channels = {
            each.id: writer.register_channel(each.topic, "protobuf", schemas[each.schema_id], dict(each.metadata))
            for each in summary.channels.values()
        }
        writer.add_metadata("offboard.episode", said["offboard.episode"])
        for turn in range(times):
            groups: dict[str, list[Any]] = {}
            until = first + 10**9
            for schema, channel, message in [*messages, (None, None, None)]:
                if message is None or message.log_time >= until:
                    for group in groups.values():
                        for number, at, data in group:
                            writer.add_message(number, at + turn * length, data, at + turn * length)
                        writer.flush()
                    groups, until = {}, until + 10**9
                if message is None:
                    break
                data = message.data
                if channel.topic in ("/observed", "/played"):
                    data = _later(data, turn * length / 1e9)
                kind = schema.name if schema.name.startswith("foxglove.Compressed") else ""
                groups.setdefault(kind, []).append((channels[channel.id], message.log_time, data))
        outcome = {**said["offboard.outcome"], "seconds": json.dumps(times * length / 1e9)}
        writer.add_metadata("offboard.outcome", outcome)
        writer.finish()


def _later(data: bytes, seconds: float) -> bytes:
    """The same message, whose field 2 (``seconds``, a double) is so much more; left out by protobuf where it is 0."""
    size = 2 + data[1]  # after the timestamp
    if data[size : size + 1] != b"\x11":
        return data[:size] + b"\x11" + struct.pack("<d", seconds) + data[size:]
    at = size + 1
    return data[:at] + struct.pack("<d", struct.unpack_from("<d", data, at)[0] + seconds) + data[at + 8 :]


def asked(app: Any, path: str, query: str = "") -> tuple[float, bytes]:
    """Milliseconds, and the answer."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": path, "query_string": query.encode(),
        "headers": [(b"host", b"localhost")],
    }  # fmt: skip
    began = time.perf_counter()
    asyncio.run(app(scope, receive, send))
    took = 1000 * (time.perf_counter() - began)
    assert sent[0]["status"] == 200, sent
    return took, sent[1]["body"]


def read_so_far() -> int:
    """Bytes that this process has read."""
    words = Path("/proc/self/io").read_text().split()
    return int(words[words.index("rchar:") + 1])


def listing(folder: Path) -> dict[str, float]:
    """In a fresh process."""
    paths = sorted(folder.glob("*.mcap"))
    began, before = time.perf_counter(), read_so_far()
    replay = Replay(folder)
    app = pages_app(replay)
    first, body = asked(app, "/api/episodes")
    again, _ = asked(app, "/api/episodes")
    read = (read_so_far() - before) / 1e6
    glances = time.perf_counter()
    for path in paths:
        glance(path)
    indexes = time.perf_counter()
    for path in paths:
        Episode(path).close()
    whole = 1000 * (time.perf_counter() - indexes)
    return {
        "episodes": len(paths), "mb": sum(path.stat().st_size for path in paths) / 1e6, "first_ms": first,
        "again_ms": again, "kb": len(body) / 1e3, "read_mb": read, "glances_ms": 1000 * (indexes - glances),
        "indexes_ms": whole, "since_start_ms": 1000 * (glances - began),
    }  # fmt: skip


def hour(folder: Path) -> dict[str, float]:
    """In a fresh process."""
    (path,) = folder.glob("*.mcap")
    began = time.perf_counter()
    glance(path)
    looked = 1000 * (time.perf_counter() - began)
    replay = Replay(folder)
    app = pages_app(replay)
    (row,) = json.loads(asked(app, "/api/episodes")[1])["episodes"]
    one = f"/api/episodes/{row['id']}"
    found: dict[str, float] = {"seconds": row["seconds"], "gb": path.stat().st_size / 1e9, "glance_ms": looked}
    middle = row["seconds"] / 2
    for name, what, query in (
        ("open", "", ""),
        ("seek", "/film", f"camera=left&t={middle}"),
        ("seek_other", "/film", f"camera=right&t={middle}"),
        ("next", "/film", f"camera=left&t={middle + 1.5}"),
        ("whole", "/series", ""),
        ("part", "/series", f"from={middle}&to={middle + 20}"),
    ):
        before = read_so_far()
        took, body = asked(app, one + what, query)
        found |= {f"{name}_ms": took, f"{name}_read_mb": (read_so_far() - before) / 1e6, f"{name}_kb": len(body) / 1e3}
    return found


def main() -> None:
    """Make, measure, print and write."""
    parser = argparse.ArgumentParser(description="How quick `offboard replay` is where there is much to look at.")
    parser.add_argument("what", nargs="?", choices=("all", "list", "hour"), default="all")
    parser.add_argument("folder", nargs="?", type=Path, help="of recordings that are there, for `list` and `hour`")
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--minutes", type=int, default=60)
    options = parser.parse_args()
    if options.folder is not None:
        print(json.dumps({"list": listing, "hour": hour}[options.what](options.folder)))
        return
    results: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp(prefix="offboard-replay-"))
    try:
        short, long = folder / "short", folder / "long"
        long.mkdir()
        one = episode(short, 15, 224, 224)
        for number in range(1, options.episodes):
            shutil.copy(one, short / f"{one.stem}-{number:04d}.mcap")
        minute = episode(folder / "minute", 60, 480, 640)
        repeated(minute, options.minutes, long / "hour.mcap")
        for what, where in (("list", short), ("hour", long)):
            ran = subprocess.run([sys.executable, __file__, what, str(where)], check=True, capture_output=True)
            results[what] = json.loads(ran.stdout)
    finally:
        shutil.rmtree(folder)
    text = json.dumps(results, indent=2)
    print(text)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
