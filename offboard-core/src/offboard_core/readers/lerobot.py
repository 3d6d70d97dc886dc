"""Data sets of LeRobot's, in its forms v2.1 and v3.0, read as files: neither LeRobot nor PyTorch is needed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from offboard_client.errors import RecordingFailed
from offboard_client.wire import Array, decode_image, image_size

from ..data_sets import SourceFrame
from .files import Table
from .film import Film, pixels
from .lerobot_files import LeRobotFiles, Listed
from .parts import advice
from .steady import Track, steady

#: Whether a person led the arm, as offboard's exports and LeRobot's recordings of corrections call it.
_LED = "intervention"
#: Seconds by which the times of a data set may differ from its rate; LeRobot takes 0.0001, float32 needs more.
_EVEN = 0.01


class LeRobotSource:
    """The data set in ``folder``. ``names``: see :func:`.parts.find_parts`. Raises ConfigurationError."""

    #: It lists all that it has.
    left_out: Mapping[str, int] = {}

    def __init__(self, folder: Path, names: Mapping[str, str]) -> None:
        self._files = LeRobotFiles(folder, names)
        self.fps = self._files.fps

    def episodes(self) -> Sequence[LeRobotEpisode]:
        """See :class:`~offboard_core.data_sets.EpisodeSource`."""
        known = self._files.record()
        return [LeRobotEpisode(self._files, each, known.get(each.index, {})) for each in self._files.listed()]


class LeRobotEpisode:
    """A :class:`~offboard_core.data_sets.SourceEpisode`."""

    #: All is known in each row.
    left_out: Mapping[str, int] = {}

    def __init__(self, source: LeRobotFiles, episode: Listed, known: Mapping[str, Any]) -> None:
        self._source, self._episode, self._known = source, episode, known
        self.name = f"{source.what}, episode {episode.index}"

    @property
    def identity(self) -> str:
        """By the statistics that the data set has of it, else by its numbers, wherever that lies."""
        return self._identity

    @cached_property
    def _identity(self) -> str:
        said = json.dumps([self._episode.index, self._episode.length, self._marks()], sort_keys=True, default=str)
        return f"lerobot-{hashlib.sha256(said.encode()).hexdigest()[:24]}"

    @property
    def origin(self) -> Mapping[str, Any]:
        """See :class:`~offboard_core.data_sets.SourceEpisode`."""
        known = {name: value for name, value in self._known.items() if name != "episode_index"}
        place = {"data_set": self._source.what, "form": f"lerobot {self._source.form}", "episode": self._episode.index}
        return {**known, **place}

    @property
    def seconds(self) -> float:
        """See :class:`~offboard_core.data_sets.SourceEpisode`."""
        return self._episode.length / self._source.fps

    def names(self) -> Collection[str]:
        """See :class:`~offboard_core.data_sets.SourceEpisode`."""
        return self._source.parts.keys()

    def advice(self, absent: Collection[str]) -> str:
        """See :class:`~offboard_core.data_sets.SourceEpisode`."""
        return advice(absent, self._source.columns)

    def frames(self, fps: float, wanted: Collection[str]) -> Iterator[SourceFrame]:
        """See :class:`~offboard_core.data_sets.SourceEpisode`.

        A rate above the data set's is refused: frames would be taken twice.
        """
        source, episode, what = self._source, self._episode, self.name
        names = sorted(set(wanted) - {"task"})
        if missing := [name for name in names if name not in source.parts]:
            raise RecordingFailed(f"{what} has no {', '.join(missing)}; {self.advice(missing)}")
        if fps > source.fps * (1 + 1e-6):
            raise RecordingFailed(f"{what} has {source.fps:g} frames a second, and {fps:g} would take some twice")
        if not episode.length:
            raise RecordingFailed(f"{what} has no length: there is no frame in it")
        table, first = source.rows(episode)
        times = self._times(table, first)
        films: list[Film] = []
        try:
            tracks = {name: self._track(name, table, first, times, films) for name in names}
            tasks = self._tasks(table, first)
            led = self._led(table, first)

            def place(seconds: float) -> int:
                return min(int(seconds * source.fps + 1e-3), episode.length - 1)

            yield from steady(what, tracks, fps, task=lambda at: tasks[place(at)], led=lambda at: bool(led[place(at)]))
        finally:
            for film in films:
                film.close()

    # -- inside ----------------------------------------------------------------------------------------
    def _marks(self) -> Any:
        stats = self._episode.said.get("stats")
        if stats is None and self._source.form == "v2.1":
            stats = self._source.stats.get(self._episode.index)
        return stats or self._digest()

    def _digest(self) -> str:
        """Of its numbers. Two data sets may have one name, and what cannot be read says so when it is."""
        source, length, found = self._source, self._episode.length, hashlib.sha256()
        widths = {column: about.width for column, about in source.columns.items() if about.width is not None}
        if length:
            with suppress(RecordingFailed):
                table, first = source.rows(self._episode)
                for column, width in widths.items():
                    found.update(table.numbers(column, width, first, length).tobytes())
        return found.hexdigest()

    def _times(self, table: Table, first: int) -> Array:
        """Seconds of the rows, by their count: a data set's own are float32."""
        source, length = self._source, self._episode.length
        if "frame_index" in table.names:
            counted = table.whole("frame_index", first, length)
            if not np.array_equal(counted, np.arange(length)):
                raise RecordingFailed(f"{self.name} is damaged: its rows are not numbered from 0 on")
        times = np.arange(length) / source.fps
        if "timestamp" in table.names:
            off = np.abs(table.numbers("timestamp", 1, first, length)[:, 0] - times)
            if not (off <= max(_EVEN, 0.1 / source.fps)).all():
                at = int((~(off <= max(_EVEN, 0.1 / source.fps))).argmax())
                raise RecordingFailed(
                    f"{self.name} is damaged: its rows are not {source.fps:g} a second, row {at} is "
                    f"off by {off[at]:.3f} s"
                )
        return times

    def _track(self, name: str, table: Table, first: int, times: Array, films: list[Film]) -> Track:
        source, episode = self._source, self._episode
        part = source.parts[name]
        about, what = source.columns[part.column], f"{part.column} of {self.name}"
        if about.width is not None:
            values = table.numbers(part.column, about.width, first, episode.length)
            if part.indices is not None:
                values = values[:, list(part.indices)]
            return Track(times, lambda index: values[index])
        size = source.size(part.column)
        if source.features[part.column]["dtype"] == "image":
            stills = _Stills(table.pictures(part.column, first, episode.length), what, size)
            return Track(times, stills.nth)
        since = episode.since.get(part.column, 0.0)
        film = Film(source.path("video_path", episode.files[part.column]), what, size, since)
        films.append(film)

        def shown(index: int) -> Any:
            frame = film.at(since + index / source.fps, 0.5 / source.fps)
            return lambda: pixels(frame)

        return Track(times, shown)

    def _tasks(self, table: Table, first: int) -> list[str]:
        length = self._episode.length
        if "task_index" not in table.names:
            return [""] * length
        numbers = table.whole("task_index", first, length).tolist()
        if unknown := set(numbers) - self._source.tasks.keys():
            raise RecordingFailed(f"{self.name} is damaged: no task has the number {min(unknown)}")
        return [self._source.tasks[number] for number in numbers]

    def _led(self, table: Table, first: int) -> Sequence[Any]:
        feature = self._source.features.get(_LED, {})
        if feature.get("dtype") != "bool" or _LED not in table.names:
            return [False] * self._episode.length
        return table.numbers(_LED, 1, first, self._episode.length)[:, 0].tolist()


class _Stills:
    """Pictures that are files in rows, in order."""

    def __init__(self, rows: Iterator[bytes | None], what: str, size: tuple[int, int]) -> None:
        self._rows, self._what, self._size = rows, what, size
        self._count, self._data = -1, b""

    def nth(self, index: int) -> Any:
        while self._count < index:
            data = next(self._rows, None)
            if data is None:
                raise RecordingFailed(f"{self._what} has no picture in row {self._count + 1}")
            self._count, self._data = self._count + 1, data
        data = self._data

        def made() -> Array:
            try:
                wide, high = image_size(data)
                if (high, wide) != self._size:
                    raise RecordingFailed(f"{self._what} is {(high, wide)}, and its data set says {self._size}")
                return decode_image(data)
            except RecordingFailed:
                raise
            except Exception as error:
                raise RecordingFailed(f"{self._what} cannot be decoded: {error}") from error

        return made
