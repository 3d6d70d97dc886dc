"""In an environment that has Positronic's package: writes a data set, and says what its own conversion makes of it.

``python positronic_rows.py SET ROWS.npz FPS CODEC …``: ROWS has ``CODEC:EPISODE:COLUMN`` → (frames, …). Not a test.
"""

import importlib
import sys
from pathlib import Path

import numpy as np
from positronic.dataset.local_dataset import LocalDatasetWriter, load_all_datasets
from positronic.dataset.time import Time
from positronic.dataset.transforms import TransformedDataset

BEGAN = 1_700_000_000_000_000_000
#: Signal → how often a second, and when it begins.
SIGNALS = {
    "robot_state.ee_pose": (100.0, 0.0), "robot_state.q": (90.0, 0.003), "grip": (50.0, 0.001),
    "image.wrist": (30.0, 0.01), "image.exterior": (15.0, 0.02), "robot_command.pose": (20.0, 0.11),
    "target_grip": (20.0, 0.11),
}  # fmt: skip


def value(name: str, seconds: float, number: int, height: int, width: int) -> object:
    if name.startswith("image."):
        y, x = np.mgrid[0:height, 0:width]
        return np.stack([(x * 3 + number) % 256, (y * 5 + number) % 256, (x + y + 7 * number) % 256], -1).astype(
            np.uint8
        )
    if name.endswith("pose"):
        turn = 0.3 * seconds
        return np.array([0.1 + seconds / 10, 0.2, 0.3, np.cos(turn), np.sin(turn), 0.0, 0.0])
    return np.arange(7) * seconds / 10 if name.endswith(".q") else float(number % 5) / 4


def write(folder: Path) -> None:
    random = np.random.default_rng(0)
    with LocalDatasetWriter(folder) as data:
        for number in range(2):
            with data.new_episode(created_ts_ns=BEGAN + number) as episode:
                for name, (rate, seconds) in SIGNALS.items():
                    count = 0
                    while seconds < 2.0:
                        sample = value(name, seconds, count, 48, 64)
                        episode.append(name, sample, Time(recorded=BEGAN + int(seconds * 1e9)))
                        seconds, count = seconds + (1 + 0.3 * random.random()) / rate, count + 1
                episode.set_static("task", f"stack {number}")
                episode.set_static("eval.outcome", ("Success", "Stalled")[number])


def rows(folder: Path, codec: object, fps: float) -> dict[str, np.ndarray]:
    """As its ``to_lerobot`` goes through a data set, without LeRobot and PyTorch."""
    found = {}
    data = TransformedDataset(load_all_datasets(folder), codec.training_encoder)
    for number in range(len(data)):
        start, finish = data[number].bounds("recorded")
        times = [Time(recorded=at) for at in np.arange(start, finish, 1e9 / fps, dtype=np.int64)]
        for name, values in data[number].time[times].items():
            if not isinstance(values, str) and len(values) == len(times):
                found[f"{number}:{name}"] = np.stack([np.asarray(values[place]) for place in range(len(times))])
    return found


def main() -> None:
    folder, out, fps, *names = sys.argv[1:]
    write(Path(folder))
    found = {}
    for name in names:
        vendor, short = name.split(".")
        codec = getattr(importlib.import_module(f"positronic.vendors.{vendor}.codecs"), short)()
        found |= {f"{name}:{key}": made for key, made in rows(Path(folder), codec, float(fps)).items()}
    np.savez(out, **found)


main()
