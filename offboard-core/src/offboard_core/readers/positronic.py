"""Data sets of Positronic's own: a folder of each episode, a Parquet file of each signal, a video of each camera.

In its form of before timelines had names, and in that of since.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from offboard_client.errors import ConfigurationError, RecordingFailed, brief
from offboard_client.exports import OUTCOMES, name_of
from offboard_client.wire import Array

from ..data_sets import SourceFrame
from .files import Table, read_lines, read_map
from .film import Film, pixels
from .parts import Column, Part, advice, find_parts
from .steady import Track, steady

_STATIC, _META, _EDITS, _UNFINISHED = "static.json", "meta.json", "edits.jsonl", ".unfinished"
_FRAMES, _SIGNAL, _VIDEO = ".frames.parquet", ".parquet", ".mp4"
_LED = "offboard.intervention"
#: Metadata of a signal's file: the version of its form; and the name of its one timeline, in the old form.
_VERSION, _TIMELINE = b"positronic.signal_version", b"positronic.timeline"
#: Which clock counts, where there are several.
_CLOCKS = ("harness.world", "received.world", "recorded")
#: Folders below one another in which data sets are looked for.
_DEPTH = 6


class PositronicSource:
    """The data sets in ``folder`` and below it. ``names``: see :func:`.parts.find_parts`. Raises ConfigurationError."""

    fps = None

    def __init__(self, folder: Path, names: Mapping[str, str]) -> None:
        self._folder, self._names = folder, names
        self.left_out = Counter[str]()

    def episodes(self) -> Sequence[PositronicEpisode]:
        """See :class:`~offboard_core.data_sets.EpisodeSource`. Those that its edits dropped are left out."""
        try:
            self.left_out.clear()
            every = [*self._all()]
            found = [each for each in every if not each.dropped]
            self.left_out["dropped"] += len(every) - len(found)
        except OSError as error:
            raise ConfigurationError(f"{self._folder} cannot be read: {error.strerror}") from error
        except RecordingFailed as error:
            raise ConfigurationError(error.text) from error
        if not found:
            raise ConfigurationError(f"{self._folder} is a data set of Positronic's without a finished episode")
        return found

    def _all(self) -> Iterator[PositronicEpisode]:
        root = self._folder
        for data_set in _data_sets(root, _DEPTH):
            # The nearest folder's edits come first, and an episode's own last.
            above = [each for each in (data_set, *data_set.parents) if each == root or root in each.parents]
            logs = [*_edits(above)]
            for block in _numbered(data_set):
                for episode in _numbered(block):
                    if (episode / _UNFINISHED).exists() or not any(episode.iterdir()):
                        self.left_out["dropped"] += 1
                    else:
                        yield PositronicEpisode(root, episode, self._names, logs)


class PositronicEpisode:
    """A :class:`~offboard_core.data_sets.SourceEpisode`. ``logs``: edits of the folders above, in order."""

    def __init__(
        self, root: Path, folder: Path, names: Mapping[str, str], logs: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self._folder, self._names = folder, names
        self._place = folder.relative_to(root).as_posix()
        self.name = f"{root.name}/{self._place}"
        meta = _map(folder / _META)
        created = meta.get("created_ts_ns")
        uid = meta.get("uid") or (f"ts-{created}" if created is not None else _digest(folder))
        self.identity = f"positronic-{str(uid)[:200]}"
        #: What its edits say: values beside or instead of those that were recorded, and whether it counts.
        self._edited, self.dropped = dict[str, Any](), False
        self.left_out = dict[str, int]()
        for said in (*logs, *_edits([folder])):
            if said["ep"] != uid:
                continue
            if said["op"] == "set_static":
                self._edited |= said["data"]
            else:
                self.dropped = said["op"] == "drop"

    @property
    def origin(self) -> Mapping[str, Any]:
        """See :class:`~offboard_core.data_sets.SourceEpisode`."""
        static = {**_map(self._folder / _STATIC), **self._edited}
        outcome = static.get("offboard.outcome") or OUTCOMES.get(str(static.get("eval.outcome")))
        if outcome is None and isinstance(success := static.get("eval.success"), bool):
            outcome = "success" if success else "fail"
        said = {
            "form": "positronic", "episode": self._place, "outcome": outcome,
            "score": static.get("offboard.score"), "tags": static.get("offboard.tags"),
            "note": static.get("eval.notes"),
            "recording": static.get("offboard.recording"), "began": static.get("offboard.began"),
            "seed": static.get("eval.seed"), "clip": static.get("offboard.clip"),
        }  # fmt: skip
        return {name: value for name, value in said.items() if value is not None}

    @property
    def seconds(self) -> float:
        """Of a camera, or of any signal that it has; 0 where it cannot be read."""
        with suppress(RecordingFailed, OSError, LookupError, StopIteration):
            signals = sorted(self._signals.values(), key=lambda path: not path.name.endswith(_FRAMES))
            table = Table(signals[0])
            times = table.whole(next(iter(_clocks(table).values())))
            return float(times[-1] - times[0]) / 1e9 if len(times) else 0.0
        return 0.0

    def names(self) -> Collection[str]:
        """See :class:`~offboard_core.data_sets.SourceEpisode`."""
        return self._parts.keys()

    def advice(self, absent: Collection[str]) -> str:
        """See :class:`~offboard_core.data_sets.SourceEpisode`."""
        return advice(absent, self._columns)

    def frames(self, fps: float, wanted: Collection[str]) -> Iterator[SourceFrame]:
        """See :class:`~offboard_core.data_sets.SourceEpisode`."""
        names = sorted(set(wanted) - {"task"})
        if missing := [name for name in names if name not in self._parts]:
            raise RecordingFailed(f"{self.name} has no {', '.join(missing)}; {self.advice(missing)}")
        tables = {column: Table(self._signals[column]) for column in {self._parts[name].column for name in names}}
        clocks = {column: _clocks(table) for column, table in tables.items()}
        clock = next((each for each in _CLOCKS if any(each in known for known in clocks.values())), _CLOCKS[-1])
        films: list[Film] = []
        try:
            stamps = {column: self._stamps(column, tables[column], clocks[column], clock) for column in tables}
            base = max((int(each[0]) for each in stamps.values() if len(each)), default=0)
            tracks = {
                name: self._track(self._parts[name], tables, (stamps[self._parts[name].column] - base) / 1e9, films)
                for name in names
            }
            task = self._static.get("task")
            yield from steady(
                self.name, tracks, fps, task=lambda _: task if isinstance(task, str) else "",
                led=self._led(clock, base), ended=True, left_out=self.left_out,
            )  # fmt: skip
        finally:
            for film in films:
                film.close()

    # -- inside ----------------------------------------------------------------------------------------
    @cached_property
    def _static(self) -> Mapping[str, Any]:
        path = self._folder / _STATIC
        return {**(read_map(path) if path.is_file() else {}), **self._edited}

    @cached_property
    def _signals(self) -> Mapping[str, Path]:
        """Each signal's Parquet file; of a camera that of its frames' times."""
        found: dict[str, Path] = {}
        for path in sorted(self._folder.iterdir()):
            if path.name.endswith(_FRAMES):
                found[path.name.removesuffix(_FRAMES)] = path
            elif path.name.endswith(_SIGNAL):
                found.setdefault(path.name.removesuffix(_SIGNAL), path)
            elif path.name.endswith(_VIDEO) and not path.with_name(f"{path.stem}{_FRAMES}").exists():
                raise RecordingFailed(f"{self.name} is damaged: nothing says when the frames of {path.name} were taken")
        return found

    @cached_property
    def _columns(self) -> Mapping[str, Column]:
        return {name: Column(None if path.name.endswith(_FRAMES) else -1) for name, path in self._signals.items()}

    @cached_property
    def _parts(self) -> Mapping[str, Part]:
        own = {theirs: name for name in self._columns if (theirs := name_of(name)) != name}
        commands = {name: Part(theirs) for name, theirs in own.items()}
        try:
            return commands | find_parts(self._columns, self._names, self.name)
        except ConfigurationError as error:  # other episodes may have it
            raise RecordingFailed(error.text) from error

    def _stamps(self, column: str, table: Table, clocks: Mapping[str, str], clock: str) -> Array:
        """Nanoseconds of each value."""
        if clock not in clocks:
            raise RecordingFailed(
                f"{column} of {self.name} has no times of the clock {clock}, and other signals have: it has "
                f"{', '.join(clocks) or 'none'}"
            )
        return table.whole(clocks[clock])

    def _track(self, part: Part, tables: Mapping[str, Table], times: Array, films: list[Film]) -> Track:
        column, what = part.column, f"{part.column} of {self.name}"
        if self._columns[column].width is None:
            film = Film(self._folder / f"{column}{_VIDEO}", what)
            films.append(film)

            def shown(index: int) -> Any:
                frame = film.nth(index)
                return lambda: pixels(frame)

            return Track(times, shown)
        values = tables[column].numbers("value", None)
        if part.indices is not None:
            if len(values) and max(part.indices) >= values.shape[1]:
                raise RecordingFailed(f"{what} has {values.shape[1]} numbers, and --map asks for more of them")
            values = values[:, list(part.indices)]
        return Track(times, lambda index: values[index])

    def _led(self, clock: str, base: int) -> Callable[[float], bool]:
        path = self._signals.get(_LED)
        table = None if path is None else Table(path)
        column = None if table is None else _clocks(table).get(clock)
        if table is None or column is None or not len(table):
            return lambda _: False
        times, values = (table.whole(column) - base) / 1e9, table.numbers("value", 1)[:, 0]

        def led(seconds: float) -> bool:
            index = int(np.searchsorted(times, seconds + 1e-6, "right")) - 1
            return index >= 0 and bool(values[index])

        return led


def _map(path: Path) -> Mapping[str, Any]:
    """What a file says; nothing where it is damaged, which is said when the episode is read."""
    with suppress(RecordingFailed):
        return read_map(path)
    return {}


def is_positronic(folder: Path) -> bool:
    """Whether there is an episode of Positronic's in it, or in a folder below. Raises OSError."""
    return next(_data_sets(folder, _DEPTH), None) is not None


def _data_sets(folder: Path, depth: int) -> Iterator[Path]:
    """Folders that have numbered ones with numbered ones in them, in order, each before those below it."""
    if any(next(_numbered(block), None) for block in _numbered(folder)):
        yield folder
    if depth:
        for below in sorted(folder.iterdir()):
            if below.is_dir() and not below.is_symlink() and not _is_number(below.name) and below.name[:1] != ".":
                yield from _data_sets(below, depth - 1)


def _numbered(folder: Path) -> Iterator[Path]:
    return (each for each in sorted(folder.iterdir()) if _is_number(each.name) and each.is_dir())


def _is_number(name: str) -> bool:
    return len(name) == 12 and name.isascii() and name.isdigit()


def _digest(folder: Path) -> str:
    """Of an episode that does not say which one it is: of what it measured. Raises OSError."""
    found = hashlib.sha256()
    for path in sorted(folder.glob(f"*{_SIGNAL}")):
        with path.open("rb") as file:
            while block := file.read(2**20):
                found.update(block)
    return found.hexdigest()[:24]


def _clocks(table: Table) -> dict[str, str]:
    """The name of each clock, and the column of its times. Raises RecordingFailed."""
    metadata: Mapping[bytes, bytes] = table.schema.metadata or {}
    version = metadata.get(_VERSION)
    if version is None:
        named = metadata.get(_TIMELINE, _CLOCKS[-1].encode()).decode("utf-8", "replace")
        return {named: next((name for name in ("timestamp", "ts_ns") if name in table.names), "timestamp")}
    if version != b"2":
        raise RecordingFailed(f"{table.path} is of the form {brief(version)} of signals, and 2 is read")
    return {name.removeprefix("ts."): name for name in table.names if name.startswith("ts.")}


def _edits(folders: Sequence[Path]) -> Iterator[Mapping[str, Any]]:
    """What was said of episodes after they were recorded. Raises RecordingFailed for what nobody knows how to read."""
    for folder in folders:
        path = folder / _EDITS
        for said in read_lines(path) if path.is_file() else ():
            op, data = said.get("op"), said.get("data")
            known = op in ("drop", "undrop") or (op == "set_static" and isinstance(data, dict))
            if said.get("v") != 1 or not known or not isinstance(said.get("ep"), str):
                raise RecordingFailed(f"{path} says what is not known here: {brief(cast('Any', said))}")
            yield said
