"""A data set that LeRobot writes (any version of it), and what it reads of it itself.

As a program, where only LeRobot is: ``python lerobot_rows.py SET ROWS.npz``.
"""

import sys
import warnings
from typing import Any

import numpy as np

LENGTHS = (40, 25, 31)
FEATURES = {
    "observation.state": {
        "dtype": "float32", "shape": (15,), "names": ["robot_state.ee_pose", "grip", "robot_state.q"]
    },
    "action": {"dtype": "float32", "shape": (8,), "names": ["actions"]},
    "observation.images.wrist": {"dtype": "video", "shape": (48, 64, 3), "names": ["height", "width", "channels"]},
    "observation.images.side": {"dtype": "image", "shape": (32, 48, 3), "names": ["height", "width", "channels"]},
}  # fmt: skip


def picture(number: int, height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([(x * 3 + number) % 256, (y * 5 + number) % 256, (x + y + 7 * number) % 256], -1).astype(np.uint8)


def write(folder: str) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    data = LeRobotDataset.create("offboard/set", 30, FEATURES, root=folder, video_backend="pyav")
    for episode, length in enumerate(LENGTHS):
        for number in range(length):
            pose = [0.1 + number / 100, 0.2, 0.3, 1, 0, 0, 0]
            frame = {
                "observation.state": np.array(
                    [*pose, number / 100, *(np.arange(7) * number / 10 + episode)], np.float32
                ),
                "action": np.array([0.5 + number / 100, episode, 0.3, 1, 0, 0, 0, number % 2], np.float32),
                "observation.images.wrist": picture(number + 50 * episode, 48, 64),
                "observation.images.side": picture(number + 50 * episode, 32, 48),
            }
            if hasattr(data, "finalize"):
                data.add_frame({**frame, "task": f"task {episode % 2}"})
            else:
                data.add_frame(frame, task=f"task {episode % 2}")
        data.save_episode()
    if hasattr(data, "finalize"):
        data.finalize()


def rows(folder: str) -> dict[str, np.ndarray]:
    """Column → (frames, …)."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    data = LeRobotDataset("offboard/set", root=folder, video_backend="pyav")
    found = {name: [] for name in (*FEATURES, "task")}
    for place in range(len(data)):
        row = data[place]
        for name, values in found.items():
            values.append(np.asarray(row[name]))
    return {name: np.stack(values) for name, values in found.items()}


def check(folder: str, theirs: Any) -> None:
    """All that LeRobot reads of it is read by ours, to the bit. ``theirs``: :func:`rows`."""
    from offboard_core.readers import open_source

    source = open_source(folder, {"target_pose": "action[0:7]", "target_grip": "action[7]"}, lambda _: None)
    assert source is not None
    state, action = ("robot_state.ee_pose", "grip", "robot_state.q"), ("target_pose", "target_grip")
    frames = [
        frame
        for episode in source.episodes()
        for frame in episode.frames(30, [*state, *action, "image.wrist", "image.side"])
    ]
    assert len(frames) == len(theirs["task"]) == sum(LENGTHS)
    for place, frame in enumerate(frames):
        assert frame.task == theirs["task"][place]
        for names, column in ((state, "observation.state"), (action, "action")):
            ours = np.concatenate([frame.values[name] for name in names])
            assert np.array_equal(ours, theirs[column][place])
        for camera in ("wrist", "side"):
            shown = theirs[f"observation.images.{camera}"][place].transpose(1, 2, 0) * 255
            assert np.abs(frame.values[f"image.{camera}"] - shown).max() < 1e-3


def main() -> None:
    warnings.filterwarnings("ignore")
    folder, out = sys.argv[1:]
    write(folder)
    np.savez(out, **rows(folder))


if __name__ == "__main__":
    main()
