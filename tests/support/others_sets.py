"""Data sets as others write them, file by file: LeRobot's of the forms v2.1 and v3.0, and Positronic's own."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

#: What the numbers of the two vectors are called.
STATE = ["robot_state.ee_pose", "grip", "robot_state.q"]
ACTION = [*(f"target_pose.{label}" for label in ("x", "y", "z", "qw", "qx", "qy", "qz")), "target_grip"]
#: Nanoseconds since 1970 at which episodes of Positronic's begin.
BEGAN = 1_700_000_000_000_000_000


def shade(number: int, height: int = 32, width: int = 48) -> Any:
    """(height, width, 3) uint8 of one grey, which says which picture it is and which video keeps."""
    return np.full((height, width, 3), 20 + 4 * (number % 50), np.uint8)


def film(path: Path, pictures: Sequence[Any], fps: int, codec: str = "libx264") -> None:
    """A video of them."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream(codec, rate=fps)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.gop_size = "yuv420p", 10
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def row(episode: int, number: int) -> dict[str, Any]:
    """What the state and the action are at a frame: they say which one it is."""
    state = [0.1 + number / 100, 0.2, 0.3, 1.0, 0.0, 0.0, 0.0, number / 100, *[episode + number / 10] * 7]
    action = [0.5 + number / 100, 0.2, 0.3, 1.0, 0.0, 0.0, 0.0, float(number % 2)]
    return {"observation.state": state, "action": action}


def lerobot_set(
    folder: Path,
    form: str = "v3.0",
    lengths: Sequence[int] = (12, 7),
    fps: int = 30,
    stills: bool = False,
    info: Mapping[str, Any] | None = None,
    features: Mapping[str, Any] | None = None,
) -> Path:
    """One of LeRobot's: episode e has task e; a person leads from its fifth frame on. ``stills``: a second camera, of
    pictures in the rows.
    """  # fmt: skip
    described: dict[str, Any] = {
        "observation.state": {"dtype": "float32", "shape": [15], "names": STATE},
        "action": {"dtype": "float32", "shape": [8], "names": ACTION},
        "observation.images.wrist": {"dtype": "video", "shape": [32, 48, 3], "names": ["height", "width", "channels"]},
        "intervention": {"dtype": "bool", "shape": [1], "names": None},
        **({"observation.images.side": {"dtype": "image", "shape": [32, 48, 3], "names": None}} if stills else {}),
        **{name: {"dtype": kind, "shape": [1], "names": None} for name, kind in _OWN.items()},
    }
    new = form == "v3.0"
    said: dict[str, Any] = {
        "codebase_version": form, "fps": fps, "chunks_size": 1000, "features": {**described, **(features or {})},
        "total_episodes": len(lengths), "total_frames": sum(lengths),
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet" if new else _OLD_DATA,
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4" if new else _OLD_VIDEO,
        **(info or {}),
    }  # fmt: skip
    (folder / "meta").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text(json.dumps(said))
    rows = [_rows(episode, length, fps, stills, sum(lengths[:episode])) for episode, length in enumerate(lengths)]
    shown = [[shade(10 * episode + number) for number in range(length)] for episode, length in enumerate(lengths)]
    (_write_new if new else _write_old)(folder, rows, shown, lengths, fps)
    return folder


_OWN = {
    "timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64", "task_index": "int64",
}  # fmt: skip
_OLD_DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
_OLD_VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"


def _rows(episode: int, length: int, fps: int, stills: bool, before: int) -> list[dict[str, Any]]:
    return [
        {
            **row(episode, number), "intervention": number > 4,
            **({"observation.images.side": {"bytes": _png(shade(number + 3)), "path": None}} if stills else {}),
            "timestamp": number / fps, "frame_index": number, "episode_index": episode, "index": before + number,
            "task_index": episode,
        }
        for number in range(length)
    ]  # fmt: skip


def _write_new(folder: Path, rows: list[Any], shown: list[Any], lengths: Sequence[int], fps: int) -> None:
    write_rows(folder / "data" / "chunk-000" / "file-000.parquet", [each for part in rows for each in part])
    film(
        folder / "videos" / "observation.images.wrist" / "chunk-000" / "file-000.mp4",
        [picture for part in shown for picture in part] or [shade(0)], fps,
    )  # fmt: skip
    key, episodes = "videos/observation.images.wrist", list[Any]()
    for number, length in enumerate(lengths):
        since = sum(lengths[:number])
        episodes.append({
            "episode_index": number, "length": length, "tasks": [f"task {number}"],
            "data/chunk_index": 0, "data/file_index": 0,
            "dataset_from_index": since, "dataset_to_index": since + length,
            f"{key}/chunk_index": 0, f"{key}/file_index": 0,
            f"{key}/from_timestamp": since / fps, f"{key}/to_timestamp": (since + length) / fps,
            "stats/action/mean": [float(number)] * 8, "stats/action/std": [1.0] * 8,
        })  # fmt: skip
    write_rows(folder / "meta" / "episodes" / "chunk-000" / "file-000.parquet", episodes)
    tasks = [{"task_index": number, "__index_level_0__": f"task {number}"} for number in range(len(lengths))]
    write_rows(folder / "meta" / "tasks.parquet", tasks)


def _write_old(folder: Path, rows: list[Any], shown: list[Any], lengths: Sequence[int], fps: int) -> None:
    for number, part in enumerate(rows):
        if part:
            write_rows(folder / "data" / "chunk-000" / f"episode_{number:06d}.parquet", part)
            path = folder / "videos" / "chunk-000" / "observation.images.wrist" / f"episode_{number:06d}.mp4"
            film(path, shown[number], fps)
    episodes = [
        {"episode_index": number, "tasks": [f"task {number}"], "length": length}
        for number, length in enumerate(lengths)
    ]
    stats = [
        {"episode_index": each["episode_index"], "stats": {"action": {"mean": [each["length"]]}}} for each in episodes
    ]
    tasks = [{"task_index": number, "task": f"task {number}"} for number in range(len(lengths))]
    for name, lines in (("episodes", episodes), ("episodes_stats", stats), ("tasks", tasks)):
        (folder / "meta" / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A Parquet file, in groups of five rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: [each[name] for each in rows] for name in rows[0]}), path, row_group_size=5)


def _png(picture: Any) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()


def positronic_episode(
    folder: Path,
    number: int = 0,
    static: Mapping[str, Any] | None = None,
    form: str = "old",
    seconds: float = 2.0,
    rates: Mapping[str, float] | None = None,
    cameras: Sequence[str] = ("image.wrist",),
    uid: str | None = None,
    plural: bool = False,
) -> Path:
    """One of Positronic's, in block 0 of ``folder``. Each signal's value i says i; ``rates``: how often a second."""
    place = folder / f"{0:012d}" / f"{number:012d}"
    place.mkdir(parents=True)
    command = "robot_commands.pose" if plural else "robot_command.pose"
    own = {"robot_state.ee_pose": 100.0, "robot_state.q": 100.0, "grip": 50.0, command: 20.0, "target_grip": 20.0}
    for name, rate in {**own, **(rates or {})}.items():
        count = int(seconds * rate)
        # No two signals have one clock: each begins a little later than the one before.
        times = [BEGAN + int((0.001 * len(name) + index / rate) * 1e9) for index in range(count)]
        values = [_value(name, index) for index in range(count)]
        _signal(place / f"{name}.parquet", "timestamp", times, values, form)
    for name in cameras:
        times = [BEGAN + int(index / 30 * 1e9) for index in range(int(seconds * 30))]
        film(place / f"{name}.mp4", [shade(index) for index in range(len(times))], 100)
        _signal(place / f"{name}.frames.parquet", "ts_ns", times, None, form)
    (place / "static.json").write_text(json.dumps({"task": "stack", **(static or {})}))
    (place / "meta.json").write_text(
        json.dumps({"schema_version": 1, "uid": uid or f"u{number}", "created_ts_ns": BEGAN})
    )
    return place


def _value(name: str, index: int) -> Any:
    if name.endswith("pose"):
        return [index / 1000, 0.2, 0.3, 1.0, 0.0, 0.0, 0.0]
    return [index / 1000] * 7 if name.endswith((".q", ".joints")) else index / 1000


def _signal(path: Path, column: str, times: Any, values: Any, form: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {column: times} if form == "old" else {"ts.recorded": times, "ts.received.wall": [t + 7 for t in times]}
    table = pa.table({name: pa.array(each, pa.int64()) for name, each in columns.items()})
    if values is not None:
        table = table.append_column("value", pa.array(values))
    if form != "old":
        table = table.replace_schema_metadata({b"positronic.signal_version": b"2"})
    pq.write_table(table, path)
