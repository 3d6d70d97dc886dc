"""Attempts as a LeRobot data set, written by LeRobot's own ``LeRobotDataset``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from offboard_client.errors import ConfigurationError, RecordingFailed
from offboard_client.exports import (
    Added,
    Attempt,
    Growing,
    Layout,
    SteadyFrames,
    SteadyOptions,
    difference,
    layout_of,
    recorded_rate,
)
from offboard_client.recording import Episode

from . import record
from .library import quiet
from .writing import Writing

#: What each frame says beside state, action and cameras: LeRobot's own name for a person's corrections, and nanoseconds
#: since 1970 of what was observed last.
INTERVENTION, WALL_TIME = "intervention", "wall_time_ns"
_STATE, _ACTION, _IMAGES = "observation.state", "action", "observation.images."
_SCALAR: dict[str, Any] = {"shape": (1,), "names": None}


@dataclass(frozen=True, kw_only=True)
class LeRobotSetOptions(SteadyOptions):
    """The options of ``--to lerobot``."""


def open_data_set(options: LeRobotSetOptions, folder: Path) -> LeRobotSet:
    """The data set at ``folder``, new or to be added to. Raises ConfigurationError without LeRobot, for another's."""
    quiet()
    return LeRobotSet(options, folder)


class LeRobotSet:
    """A :class:`~offboard_client.exports.DataSet`: all of it is written beside ``folder``, and put there at the end."""

    def __init__(self, options: LeRobotSetOptions, folder: Path) -> None:
        self._options, self._folder = options, folder
        before = record.read(folder)
        #: Made for the first attempt: what is there already is copied into it.
        self._growing: Growing | None = None
        self._data: Writing | None = None
        self._layout: Layout | None = None
        self._fps = 0
        self._record = record.Record() if before is None else before
        self._taken: record.Entry | None = None
        if before is not None:
            self._layout, self._fps = before.layout(), before.fps
            if options.fps not in (None, self._fps):
                raise ConfigurationError(
                    f"{folder} has {self._fps} frames a second, and --fps says {options.fps}: leave it away, or begin "
                    "in another folder"
                )

    def has(self, attempt: Attempt, /) -> bool:
        """See :class:`~offboard_client.exports.DataSet`."""
        return (attempt.name, attempt.began) in self._record.names

    def add(self, episode: Episode, attempt: Attempt, progress: Callable[[float], None], /) -> Added:
        """See :class:`~offboard_client.exports.DataSet`."""
        layout = self._layout_of(episode)
        self._forget()
        frames = SteadyFrames(episode, attempt, layout, self._fps, self._options.task)
        begin, until = (0.0, _seconds(episode)) if attempt.clip is None else attempt.clip.seconds
        count = led = 0
        at = 0
        assert self._data is not None
        for frame in frames:
            self._data.add({
                _STATE: frame.state.astype(np.float32), _ACTION: frame.action.astype(np.float32),
                INTERVENTION: np.array([frame.led]), WALL_TIME: np.array([frame.at], np.int64), "task": frame.task,
                **{_image(name): picture for name, picture in frame.cameras.items()},
            })  # fmt: skip
            at = at or frame.at
            count, led = count + 1, led + frame.led
            progress(min(1.0, (frame.seconds - begin) / max(until - begin, 1e-9)))
        if not count:
            raise RecordingFailed(f"{attempt} has no frame: nothing was commanded while all was known that one holds")
        self._taken = record.entry(episode, attempt, count, led, frames.left_out, at)
        return Added(count, led, frames.left_out)

    def commit(self) -> None:
        """See :class:`~offboard_client.exports.DataSet`."""
        assert self._taken is not None
        assert self._data is not None
        self._data.save()
        self._record.add(self._taken)
        self._taken = None

    def finish(self) -> str:
        """See :class:`~offboard_client.exports.DataSet`."""
        assert self._growing is not None
        assert self._data is not None
        try:
            self._data.finish()
            self._record.write(self._growing.path)
            self._growing.keep()
        except BaseException:
            self.discard()
            raise
        name, root = self._folder.name, self._folder
        return f"{self._fps} frames a second; lerobot-train --dataset.repo_id=offboard/{name} --dataset.root={root} …"

    def discard(self) -> None:
        """See :class:`~offboard_client.exports.DataSet`."""
        if self._data is not None:
            self._data.discard()
        if self._growing is not None:
            self._growing.drop()

    # -- inside ----------------------------------------------------------------------------------------
    def _layout_of(self, episode: Episode) -> Layout:
        """What this episode's frames hold, which is what all of them do. Raises RecordingFailed."""
        found = layout_of(episode, self._options)
        if self._layout is not None and (why := difference(self._layout, found)) is not None:
            raise RecordingFailed(f"{episode.path.name} does not fit: {why}")
        if self._growing is None:
            self._growing = Growing(self._folder)
        if self._data is None:
            self._fps = self._fps or self._options.fps or recorded_rate(episode, found)
            self._data = Writing(self._growing.path, self._folder.name, self._fps, _features(found))
            if self._layout is None:
                self._layout = found
                self._record.begin(found, self._fps)
        return found

    def _forget(self) -> None:
        """Frames that were taken and not committed."""
        self._taken = None
        if self._data is not None:
            self._data.forget()


def _features(layout: Layout) -> dict[str, dict[str, Any]]:
    """LeRobot's, of a frame."""
    vectors = {_STATE: layout.state, _ACTION: layout.action}
    found: dict[str, dict[str, Any]] = {}
    for key, numbers in vectors.items():
        names = [column for each in numbers for column in each.columns]
        found[key] = {"dtype": "float32", "shape": (len(names),), "names": names}
    for name, (height, width) in layout.cameras.items():
        found[_image(name)] = {
            "dtype": "video", "shape": (height, width, 3), "names": ["height", "width", "channels"],
        }  # fmt: skip
    found[INTERVENTION] = {"dtype": "bool", **_SCALAR}
    found[WALL_TIME] = {"dtype": "int64", **_SCALAR}
    return found


def _image(name: str) -> str:
    return _IMAGES + name.removeprefix("image.").replace("/", "_")


def _seconds(episode: Episode) -> float:
    found = episode.outcome.get("seconds")
    return float(found) if isinstance(found, int | float) and found > 0 else (episode.end - episode.start) / 1e9
