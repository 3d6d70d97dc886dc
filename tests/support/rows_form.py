"""A form of data sets that a person can read, and recordings of two cameras to make one of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from filmed import begin, picture, sample, tick
from offboard_client.play import Outcome
from offboard_client.recording import Recorder
from offboard_core import CodecEntry, DataSetEntry, DataSetForm, DataSetWriter, hookimpl
from offboard_core.codecs import ActionSplit, LetterboxImage, StateVector, TaskText, timed

POSE = np.array([0.1, 0.2, 0.3, 1.0, 0.0, 0.0, 0.0])


class Rows(DataSetWriter):
    """``rows.jsonl``: a line for each row, its pictures as their mean."""

    def __init__(self, folder: Path, form: DataSetForm) -> None:
        folder.mkdir(exist_ok=True)
        self.file, self.rows = folder / "rows.jsonl", list[dict[str, Any]]()
        self.episode = len({row["episode"] for row in rows(folder)}) if self.file.exists() else 0

    def add(self, row: Any, task: str) -> None:
        if task == "fill the disk":
            raise OSError(28, "No space left on device")
        said = {name: float(v.mean()) if v.dtype == np.uint8 else v.tolist() for name, v in row.items()}
        self.rows.append({**said, "task": task, "episode": self.episode})

    def save_episode(self) -> None:
        with self.file.open("a") as file:
            file.writelines(f"{json.dumps(row)}\n" for row in self.rows)
        self.rows, self.episode = [], self.episode + 1

    def forget(self) -> None:
        self.rows = []

    def finish(self) -> str:
        return "read it"


def rows(folder: Path) -> list[dict[str, Any]]:
    """What is in a data set."""
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def _commanded(options: Any, checkpoint: Any) -> Any:
    labels = {"target_pose": "target_pose", "target_grip": "target_grip"}
    return _codec(ActionSplit(parts={"target_pose": 7, "target_grip": 1}, labels=labels))


def _driven(options: Any, checkpoint: Any) -> Any:
    labels = {"target_joints": "robot_state.q", "target_grip": "grip"}
    return _codec(ActionSplit(parts={"target_joints": 7, "target_grip": 1}, binarize_grip=True, labels=labels))


def _codec(split: ActionSplit) -> Any:
    state = StateVector(name="state", parts={"robot_state.q": 7, "grip": 1})
    front = LetterboxImage(name="front", source="image.wrist", size=(16, 12))
    return timed(state & front & TaskText() & split, 20.0)


class Plugin:
    """As a module would be."""

    __name__ = "rows_form"

    @staticmethod
    @hookimpl
    def offboard_codecs() -> Any:
        yield CodecEntry(name="commanded", summary="What was commanded.", factory=_commanded)
        yield CodecEntry(name="driven", summary="Where the arm went.", factory=_driven)

    @staticmethod
    @hookimpl
    def offboard_data_sets() -> Any:
        yield DataSetEntry(name="rows", summary="Lines of JSON.", factory=Rows)


def recorded(
    folder: Path, periods: int = 20, success: bool | None = True, names: Any = None, rung: Any = None,
    empty: int | None = None, **more: Any,
) -> Path:  # fmt: skip
    """An episode of 20 Hz. ``names``: of the commands; ``rung``: number → why it was played so; else ``playing``.

    ``empty``: when a command had nothing in it.
    """
    recorder = Recorder(folder, {"command": "offboard run test", "task": more.get("task", "stack")})
    begin(recorder, 1 + len([*folder.glob("*.mcap")]))
    for number in range(periods):
        sample(recorder, number, **{"image.exterior": picture(number, 32, 48), **more})
        action = {"target_pose": POSE + number * np.eye(7)[0], "target_grip": np.array([number / 10])}
        played = action if names is None else {name: action.get(name, np.zeros(7)) for name in names}
        tick(recorder, number, {} if number == empty else played, rung="playing" if rung is None else rung(number))
    recorder.ended(Outcome(success, scores={"share": periods / 100}))
    return recorder.recorded.files[0]
