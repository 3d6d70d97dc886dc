"""The files of a data set of LeRobot's, v2.1 or v3.0: what it says of itself, and where the rows of an episode are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
from offboard_client.errors import ConfigurationError, RecordingFailed, brief
from offboard_client.wire import Array

from .files import Table, read_lines, read_map
from .parts import Column, Part, find_parts

INFO = Path("meta") / "info.json"
_FORMS = ("v2.1", "v3.0")
_IMAGES = "observation.images."
#: Columns of its own.
_OWN = ("timestamp", "frame_index", "episode_index", "index", "task_index")
_PLACE = re.compile(r"\{(\w{1,32})(?::0?(\d{1,2})d)?\}")


@dataclass(frozen=True)
class Listed:
    """``files``: the fields of the paths of its files, by the key of a video or "" for its rows. ``since``: seconds of
    a video's file at which it begins.
    """

    index: int
    length: int
    files: Mapping[str, Mapping[str, int | str]]
    since: Mapping[str, float]
    said: Mapping[str, Any]


class LeRobotFiles:
    """The data set in ``folder``. ``names``: see :func:`.parts.find_parts`. Raises ConfigurationError."""

    def __init__(self, folder: Path, names: Mapping[str, str]) -> None:
        self.folder, self.what = folder, folder.name or str(folder)
        try:
            self._info = read_map(folder / INFO)
        except RecordingFailed as error:
            raise ConfigurationError(error.text) from error
        self.form = self._info.get("codebase_version")
        if self.form not in _FORMS:
            raise ConfigurationError(
                f"{folder} is a LeRobot data set of the form {brief(self.form)}, and {' and '.join(_FORMS)} are read: "
                "LeRobot's own script (lerobot.datasets.v21.convert_dataset_v20_to_v21) brings v2.0 there"
            )
        self.fps = self._rate()
        self.features = self._features()
        self.columns = {
            key: about for key, about in map(self._column, self.features) if key not in _OWN and about is not None
        }
        own = {f"image.{key.removeprefix(_IMAGES)}": Part(key) for key in self.columns if key.startswith(_IMAGES)}
        self.parts = {name: part for name, part in own.items() if self.columns[part.column].width is None}
        self.parts |= find_parts(self.columns, names, self.what)
        self._rows: tuple[Path, Table, Array] | None = None

    def listed(self) -> list[Listed]:
        """Its episodes. Raises ConfigurationError."""
        try:
            found = list(self._old() if self.form == "v2.1" else self._new())
        except RecordingFailed as error:
            raise ConfigurationError(error.text) from error
        if not found:
            raise ConfigurationError(f"{self.folder} is a LeRobot data set without an episode")
        if len({each.index for each in found}) != len(found):
            raise ConfigurationError(f"{self.folder} is damaged: two episodes have one number")
        return found

    @cached_property
    def tasks(self) -> Mapping[int, str]:
        """Each task by its number. Raises RecordingFailed."""
        meta = self.folder / "meta"
        if self.form == "v2.1":
            said = [(each.get("task_index"), each.get("task")) for each in read_lines(meta / "tasks.jsonl")]
        else:
            table = Table(meta / "tasks.parquet")
            text = next((name for name in table.names if name in ("task", "__index_level_0__")), "task")
            said = [*zip(table.whole("task_index").tolist(), table.texts(text), strict=True)]
        for number, task in said:
            if not isinstance(number, int) or not isinstance(task, str):
                raise RecordingFailed(f"{self.what} is damaged: the task {brief(number)} is {brief(task)}")
        return dict(cast("list[tuple[int, str]]", said))

    @cached_property
    def stats(self) -> Mapping[int, Any]:
        """Of v2.1: what it says of each episode's numbers. Raises RecordingFailed."""
        found = dict[int, Any]()
        path = self.folder / "meta" / "episodes_stats.jsonl"
        for said in read_lines(path) if path.is_file() else ():
            stats, index = said.get("stats"), said.get("episode_index")
            if isinstance(stats, dict) and isinstance(index, int):
                stats = cast("dict[str, Any]", stats)
                found[index] = {key: stats[key] for key in stats if (about := self.columns.get(key)) and about.width}
        return found

    def path(self, template: str, fields: Mapping[str, int | str]) -> Path:
        """A file of it. Raises RecordingFailed for one that would be elsewhere."""
        said = self._info.get(template)
        filled = _filled(said, fields) if isinstance(said, str) else None
        if filled is None:
            raise RecordingFailed(f"{self.what} is damaged: its {template} is {brief(said)}")
        path = PurePosixPath(filled)
        if path.is_absolute() or ".." in path.parts or set(filled) & set("\\:\0") or not path.suffix:
            raise RecordingFailed(f"{self.what} names a file that would not be in it: {brief(filled)}; it is not read")
        return self.folder / path

    def rows(self, episode: Listed) -> tuple[Table, int]:
        """The file of its rows, and which is the first of them. Raises RecordingFailed."""
        path = self.path("data_path", episode.files[""])
        if self._rows is None or self._rows[0] != path:
            self._rows = None
            table = Table(path)
            self._rows = (path, table, table.whole("episode_index"))
        _, table, indices = self._rows
        places = np.flatnonzero(indices == episode.index)
        what = f"episode {episode.index} of {self.what}"
        if len(places) != episode.length:
            raise RecordingFailed(f"{what} has {len(places)} rows in {path}, and {episode.length} are listed")
        if places[-1] - places[0] + 1 != len(places):
            raise RecordingFailed(f"{what} is damaged: its rows in {path} do not follow one another")
        return table, int(places[0])

    # -- inside ----------------------------------------------------------------------------------------
    def _rate(self) -> float:
        fps: Any = self._info.get("fps")
        if type(fps) not in (int, float) or not 0.01 <= fps <= 10_000:
            raise ConfigurationError(f"{self.folder / INFO} says {brief(fps)} frames a second")
        return float(fps)

    def _features(self) -> dict[str, dict[str, Any]]:
        found: Any = self._info.get("features")
        if not isinstance(found, dict) or not all(isinstance(each, dict) for each in cast("Any", found).values()):
            raise ConfigurationError(f"{self.folder / INFO} says nothing of its features")
        return cast("dict[str, dict[str, Any]]", found)

    def _column(self, key: str) -> tuple[str, Column | None]:
        """What a feature is; None for what no name of the protocol could be."""
        feature = self.features[key]
        dtype, shape = feature.get("dtype"), feature.get("shape")
        sides = cast("list[Any]", shape) if isinstance(shape, list) else [0]
        if not all(type(side) is int and 0 < side <= 100_000 for side in sides):
            raise ConfigurationError(f"{self.folder / INFO}: {brief(key)} has the shape {brief(shape)}")
        if dtype in ("video", "image"):
            return key, Column(None) if len(sides) == 3 else None
        if len(sides) > 1 or not isinstance(dtype, str) or not re.fullmatch(r"(float|u?int)\d{1,2}|bool", dtype):
            return key, None
        names: Any = feature.get("names")
        if isinstance(names, dict) and len(cast("dict[str, Any]", names)) == 1:  # {"motors": […]}
            names = next(iter(cast("dict[str, Any]", names).values()))
        texts = tuple(map(str, cast("list[Any]", names))) if isinstance(names, list | tuple) else ()
        return key, Column(sides[0] if sides else 1, texts)

    @property
    def _videos(self) -> list[str]:
        return [key for key, feature in self.features.items() if feature.get("dtype") == "video"]

    def size(self, key: str) -> tuple[int, int]:
        """Height and width that a picture is said to have: channels stand last, and in some first."""
        shape = self.features[key]["shape"]
        return (shape[1], shape[2]) if shape[0] == 3 and shape[2] != 3 else (shape[0], shape[1])

    def _old(self) -> Iterator[Listed]:
        chunk: Any = self._info.get("chunks_size", 1000)
        if type(chunk) is not int or chunk < 1:
            raise ConfigurationError(f"{self.folder / INFO} says {brief(chunk)} episodes in a chunk")
        for said in read_lines(self.folder / "meta" / "episodes.jsonl"):
            index = self._count(said, "episode_index")
            at: dict[str, int | str] = {"episode_index": index, "episode_chunk": index // chunk}
            files = {"": at, **{key: {**at, "video_key": key} for key in self._videos}}
            yield Listed(index, self._count(said, "length"), files, {}, said)

    def _new(self) -> Iterator[Listed]:
        folder = self.folder / "meta" / "episodes"
        paths = sorted(folder.glob("*/*.parquet"))
        if not paths:
            raise RecordingFailed(f"{folder} has no file: nothing says which episodes there are")
        for path in paths:
            table = Table(path)
            keys = ["episode_index", "length", "data/chunk_index", "data/file_index"]
            ends = {key: [f"videos/{key}/{end}" for end in ("chunk_index", "file_index")] for key in self._videos}
            whole = {name: table.whole(name) for name in (*keys, *(name for end in ends.values() for name in end))}
            since = {key: table.numbers(f"videos/{key}/from_timestamp", 1)[:, 0] for key in self._videos}
            stats = [name for name in table.names if re.fullmatch(r"stats/.+/(mean|std)", name)]
            marks = {name: table.column(name).to_pylist() for name in stats if self._is_numbers(name)}
            for place in range(len(table)):
                row = {name: int(values[place]) for name, values in whole.items()}
                files: dict[str, Mapping[str, int | str]] = {
                    "": {"chunk_index": row[keys[2]], "file_index": row[keys[3]]},
                    **{
                        key: {"video_key": key, "chunk_index": row[end[0]], "file_index": row[end[1]]}
                        for key, end in ends.items()
                    },
                }  # fmt: skip
                begins = {key: float(values[place]) for key, values in since.items()}
                if not all(0 <= begin < 1e7 for begin in begins.values()):
                    raise RecordingFailed(f"{path} is damaged: a video begins at {begins}")
                said = {"stats": {name: values[place] for name, values in marks.items()}}
                index, length = self._count(row, "episode_index"), self._count(row, "length")
                yield Listed(index, length, files, begins, said)

    def _is_numbers(self, stats: str) -> bool:
        key = stats.split("/", 1)[1].rpartition("/")[0]
        about = self.columns.get(key)
        return about is not None and about.width is not None

    def _count(self, said: Mapping[str, Any], name: str) -> int:
        count = said.get(name)
        if type(count) is not int or not 0 <= count < 2**31:
            raise RecordingFailed(f"{self.what} is damaged: the {name} of an episode is {brief(count)}")
        return count

    def record(self) -> dict[int, dict[str, Any]]:
        """What ``meta/offboard.json`` says of each episode, where offboard wrote the data set."""
        path = self.folder / "meta" / "offboard.json"
        if not path.is_file():
            return {}
        try:
            said = read_map(path).get("episodes")
        except RecordingFailed as error:
            raise ConfigurationError(error.text) from error
        found = cast("list[Any]", said) if isinstance(said, list) else []
        entries = [cast("dict[str, Any]", each) for each in found if isinstance(each, dict)]
        return {each["episode_index"]: each for each in entries if type(each.get("episode_index")) is int}


def _filled(template: str, fields: Mapping[str, int | str]) -> str | None:
    """A path of a template with ``{name}`` and ``{name:03d}``; None for any other."""
    if len(template) > 1000 or not set(re.sub(_PLACE, "", template)).isdisjoint("{}"):
        return None
    if any(match[1] not in fields for match in _PLACE.finditer(template)):
        return None

    def put(match: re.Match[str]) -> str:
        value = fields[match[1]]
        return str(value).rjust(int(match[2]), "0") if match[2] is not None else str(value)

    return _PLACE.sub(put, template)
