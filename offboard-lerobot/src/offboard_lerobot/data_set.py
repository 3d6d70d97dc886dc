"""``offboard convert --codec lerobot.…``: rows of a codec as a LeRobot data set (v3.0), written by LeRobot itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from offboard_client.errors import ConfigurationError
from offboard_core.data_sets import DataSetForm, DataSetWriter
from offboard_lerobot_exports.library import quiet
from offboard_lerobot_exports.writing import Writing

_TASK, _HUB = "task", "hf://datasets/"


def open_data_set(folder: Path, form: DataSetForm) -> LeRobotWriter:
    """What writes into ``folder``. Raises ConfigurationError without LeRobot, and for a form that it cannot say."""
    quiet()
    return LeRobotWriter(folder, form)


class LeRobotWriter(DataSetWriter):
    """See :class:`~offboard_core.data_sets.DataSetWriter`."""

    def __init__(self, folder: Path, form: DataSetForm) -> None:
        if form.fps != int(form.fps) or form.fps < 1:
            raise ConfigurationError(
                f"LeRobot's data sets have a whole number of frames a second, and {form.codec} makes {form.fps:g}: say "
                "another --fps"
            )
        features: dict[str, dict[str, Any]] = {
            name: {
                "dtype": feature.dtype, "shape": feature.shape,
                "names": None if feature.names is None else [*feature.names],
            }
            for name, feature in form.features.items()
        }  # fmt: skip
        self._target = form.target
        self._writing = Writing(folder, form.target.rstrip("/").rpartition("/")[2] or "set", int(form.fps), features)

    def add(self, row: Mapping[str, Any], task: str) -> None:
        """See :class:`~offboard_core.data_sets.DataSetWriter`."""
        self._writing.add({**row, _TASK: task})

    def save_episode(self) -> None:
        """See :class:`~offboard_core.data_sets.DataSetWriter`."""
        self._writing.save()

    def forget(self) -> None:
        """See :class:`~offboard_core.data_sets.DataSetWriter`."""
        self._writing.forget()

    def finish(self) -> str:
        """See :class:`~offboard_core.data_sets.DataSetWriter`."""
        self._writing.finish()
        # By LeRobot's own command the checkpoint would not say its codec, and be served by its own names.
        train = "offboard train --vendor lerobot --dataset"
        if self._target.startswith(_HUB):
            name = self._target.removeprefix(_HUB)
            return f"hf download --repo-type dataset {name} --local-dir FOLDER, then {train} FOLDER …"
        return f"{train} {'FOLDER' if '://' in self._target else self._target} …"

    def discard(self) -> None:
        """See :class:`~offboard_core.data_sets.DataSetWriter`."""
        self._writing.discard()
