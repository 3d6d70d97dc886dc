"""In an environment with LeRobot 0.3.3: reads a data set of its form v2.1, and one that it writes itself of the same.

``python lerobot_v21.py SET ROWS OWN``. ROWS, an .npz: ``EPISODE/COLUMN`` → (frames, …), ``EPISODE/task`` → (frames,).
Prints what LeRobot reads of SET, and of OWN, which it has written of ROWS: what it says of both, and by column how far
they are from ROWS; of pictures the mean over all pixels, of numbers the most.
"""

import json
import os
import sys

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

OWN_COLUMNS = ("timestamp", "frame_index", "episode_index", "index", "task_index")


def loaded(folder, **more):
    return LeRobotDataset("offboard/set", root=folder, video_backend="pyav", **more)


def said(folder, given, columns):
    data = loaded(folder)
    apart = {name: [] for name in columns}
    tasks, times = [], []
    for number in range(len(data)):
        item = data[number]
        episode, frame = int(item["episode_index"]), int(item["frame_index"])
        tasks.append(item["task"] == str(given[f"{episode}/task"][frame]))
        times.append(abs(float(item["timestamp"]) - frame / data.fps))
        for name in columns:
            wanted = given[f"{episode}/{name}"][frame].astype(float)
            found = item[name].numpy().astype(float)
            if wanted.ndim == 3:
                apart[name].append(np.abs(found.transpose(1, 2, 0) * 255 - wanted).mean())
            else:
                apart[name].append(np.abs(found.reshape(wanted.shape) - wanted).max())
    horizon = {"action": [step / data.fps for step in range(4)]}
    ahead = loaded(folder, delta_timestamps=horizon)[len(data) - 2]
    return {
        "frames": len(data), "episodes": data.num_episodes, "fps": data.fps, "tasks": data.meta.tasks,
        "columns": {name: str(feature) for name, feature in data.hf_features.items()},
        "ahead": [list(ahead["action"].shape), ahead["action_is_pad"].tolist()],
        "right tasks": all(tasks), "late": max(times),
        "apart": {name: [np.mean(each), max(each)] for name, each in apart.items()},
        "stats": {
            column: {name: np.asarray(value).tolist() for name, value in each.items()}
            for column, each in data.meta.stats.items()
        },
    }  # fmt: skip


def write(folder, given, features, episodes, fps):
    made = LeRobotDataset.create("offboard/own", fps, features, root=folder)
    for episode in range(episodes):
        for number, task in enumerate(given[f"{episode}/task"]):
            made.add_frame({name: given[f"{episode}/{name}"][number] for name in features}, task=str(task))
        made.save_episode()


def main(folder, rows, own):
    data, given = loaded(folder), np.load(rows)
    features = {name: dict(feature) for name, feature in data.features.items() if name not in OWN_COLUMNS}
    for feature in features.values():
        feature.pop("info", None), feature.pop("video_info", None)
    write(own, given, features, data.num_episodes, data.fps)
    print(json.dumps([said(each, given, features) for each in (folder, own)]))


main(*sys.argv[1:])
sys.stdout.flush()
os._exit(0)  # what LeRobot's libraries leave running ends a process that ended well by a signal
