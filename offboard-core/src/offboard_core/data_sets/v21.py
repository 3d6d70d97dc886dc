"""LeRobot's data sets in their form of before 3.0, v2.1: a Parquet file and a video of each camera for each episode.

openpi and GR00T train on it, and LeRobot itself reads it until 0.3. Written here without any of them.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
from offboard_client.errors import ConfigurationError, brief, told

from ..types import Feature
from .seam import DataSetForm, DataSetWriter

VERSION = "v2.1"
_CHUNK = 1000
_DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
_VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
_INFO, _TASKS, _EPISODES, _STATS = ("meta/info.json", "meta/tasks.jsonl", "meta/episodes.jsonl",
                                    "meta/episodes_stats.jsonl")  # fmt: skip
#: The columns that every such data set has beside those of the codec.
_OWN = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
_NUMBERS = ("float32", "float64", "int32", "int64")


class V21Writer(DataSetWriter):
    """Writes into ``folder``, where nothing is or what it has written before. One thread.

    ``vectors``: a column of one number holds lists of one, and not bare numbers as LeRobot writes them. What is in the
    folder is whole after each :meth:`save_episode`. Raises ConfigurationError for columns and a rate that the form does
    not have, for what is there and does not fit, and without its libraries.
    """

    def __init__(self, folder: Path, form: DataSetForm, *, vectors: bool = False) -> None:
        self._arrow, self._parquet, self._film = _libraries()
        self._folder, self._vectors = folder, vectors
        self._fps = round(form.fps)
        if self._fps != form.fps or self._fps < 1:
            raise ConfigurationError(f"LeRobot's data sets have a whole number of frames a second, not {form.fps:g}")
        for name, feature in form.features.items():
            _check(name, feature)
        self._cameras = {name: each.shape for name, each in form.features.items() if each.dtype == "video"}
        self._columns = {name: each for name, each in form.features.items() if name not in self._cameras}
        self._info = self._begin({name: _described(each, self._fps) for name, each in form.features.items()})
        self._tasks = {str(each["task"]): int(each["task_index"]) for each in _lines(folder / _TASKS)}
        self._rows: dict[str, list[np.ndarray]] = {}
        self._said: list[str] = []
        self._films: dict[str, Any] = {}

    def add(self, row: Mapping[str, Any], task: str) -> None:
        """See :class:`.DataSetWriter`."""
        for name, (height, width, _) in self._cameras.items():
            if name not in self._films:
                place = self._place(_VIDEO, video_key=name)
                self._films[name] = self._film.Film(place, self._fps, height, width)
            self._films[name].add(row[name])
        for name, feature in self._columns.items():
            self._rows.setdefault(name, []).append(np.array(row[name], feature.dtype))
        self._said.append(task)

    def save_episode(self) -> None:
        """See :class:`.DataSetWriter`."""
        length = len(self._said)
        tasks = [*dict.fromkeys(self._said)]
        fresh = {task: len(self._tasks) + n for n, task in enumerate(t for t in tasks if t not in self._tasks)}
        known = self._tasks | fresh
        columns = {name: np.stack(rows) for name, rows in self._rows.items()} | self._own(
            [known[t] for t in self._said]
        )
        statistics = {name: _statistics(each) for name, each in columns.items()}
        for name, film in self._films.items():
            film.finish()
            statistics[name] = film.statistics()
        self._write_columns(columns)
        index = self._info["total_episodes"]
        self._append(_TASKS, *({"task_index": number, "task": task} for task, number in fresh.items()))
        self._append(_EPISODES, {"episode_index": index, "tasks": tasks, "length": length})
        self._append(_STATS, {"episode_index": index, "stats": statistics})
        self._info |= {
            "total_episodes": index + 1,
            "total_frames": self._info["total_frames"] + length,
            "total_tasks": len(known),
            "total_videos": self._info["total_videos"] + len(self._films),
            "total_chunks": index // _CHUNK + 1,
            "splits": {"train": f"0:{index + 1}"},
        }
        self._write_info()
        self._tasks = known
        self._rows, self._said, self._films = {}, [], {}

    def forget(self) -> None:
        """See :class:`.DataSetWriter`."""
        for film in self._films.values():
            film.remove()
        self._place(_DATA).unlink(missing_ok=True)
        self._rows, self._said, self._films = {}, [], {}

    def finish(self) -> str:
        """See :class:`.DataSetWriter`."""
        self.forget()
        return f"{self._info['total_episodes']} episodes, {self._fps} frames a second, in LeRobot's form {VERSION}"

    def discard(self) -> None:
        """See :class:`.DataSetWriter`."""
        with suppress(OSError):
            self.forget()

    # -- inside ----------------------------------------------------------------------------------------
    def _begin(self, features: dict[str, Any]) -> dict[str, Any]:
        """``info.json``: what is there, which has to be of the same features, or a new one's."""
        features |= {name: {"dtype": dtype, "shape": [1], "names": None} for name, dtype in _OWN.items()}
        fresh: dict[str, Any] = {
            "codebase_version": VERSION, "robot_type": None, "total_episodes": 0, "total_frames": 0, "total_tasks": 0,
            "total_videos": 0, "total_chunks": 0, "chunks_size": _CHUNK, "fps": self._fps, "splits": {},
            "data_path": _DATA, "video_path": _VIDEO if self._cameras else None, "features": features,
        }  # fmt: skip
        path = self._folder / _INFO
        if not path.exists():
            return fresh
        found = _json(path, path.read_bytes())
        for name in ("codebase_version", "fps", "chunks_size", "data_path", "video_path", "features"):
            if found.get(name) != fresh[name]:
                said = f"{brief(found.get(name))}, and would be {brief(fresh[name])}"
                raise ConfigurationError(f"{path} does not fit what is to be added: its {name} is {said}")
        counts = {name: found.get(name) for name in fresh if name.startswith("total_")}
        if not all(isinstance(each, int) and each >= 0 for each in counts.values()):
            raise ConfigurationError(f"{path} is damaged: it says {brief(counts)}")
        if (lines := len(_lines(self._folder / _EPISODES))) != found["total_episodes"]:
            raise ConfigurationError(
                f"{path} says {found['total_episodes']} episodes, and {_EPISODES} has {lines}: it is damaged"
            )
        return found

    def _place(self, pattern: str, **more: str) -> Path:
        index = self._info["total_episodes"]
        return self._folder / pattern.format(episode_chunk=index // _CHUNK, episode_index=index, **more)

    def _own(self, tasks: list[int]) -> dict[str, np.ndarray]:
        frames = np.arange(len(tasks))
        episode, before = self._info["total_episodes"], self._info["total_frames"]
        found = {
            "timestamp": frames / self._fps, "frame_index": frames, "episode_index": np.full_like(frames, episode),
            "index": frames + before, "task_index": np.array(tasks),
        }  # fmt: skip
        return {name: found[name].astype(dtype) for name, dtype in _OWN.items()}

    def _write_columns(self, columns: Mapping[str, np.ndarray]) -> None:
        arrow = self._arrow
        arrays, described = dict[str, Any](), dict[str, Any]()
        for name, data in columns.items():
            kind: dict[str, Any] = {"dtype": str(data.dtype), "_type": "Value"}
            if data.ndim == 2 and (data.shape[1] > 1 or self._vectors):
                # Hugging Face's `datasets` knows this word in every version; its newer one, List, only since 4.
                kind = {"feature": kind, "length": data.shape[1], "_type": "Sequence"}
                arrays[name] = arrow.FixedSizeListArray.from_arrays(arrow.array(data.ravel()), data.shape[1])
            else:
                arrays[name] = arrow.array(data.ravel())
            described[name] = kind
        table = arrow.table(arrays)
        said = json.dumps({"info": {"features": described}})
        path = self._place(_DATA)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._parquet.write_table(table.replace_schema_metadata({"huggingface": said}), path)

    def _append(self, name: str, *entries: Mapping[str, Any]) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(each, allow_nan=False) + "\n" for each in entries)

    def _write_info(self) -> None:
        path = self._folder / _INFO
        fresh = path.with_name(f"{path.name}.new")
        fresh.write_text(json.dumps(self._info, indent=4) + "\n", "utf-8")
        fresh.replace(path)


def _libraries() -> tuple[Any, Any, Any]:
    """Apache Arrow, its Parquet, and the room's own films."""
    try:
        names = ("pyarrow", "pyarrow.parquet", f"{__package__}.film")
        return tuple(importlib.import_module(name) for name in names)  # pyright: ignore[reportReturnType]
    except ImportError as error:
        raise ConfigurationError(
            f"LeRobot's form {VERSION} is written by pyarrow and PyAV, which are not both here ({told(error)}): "
            "pip install 'offboard-core[convert]'"
        ) from error


def _check(name: str, feature: Feature) -> None:
    """Raises ConfigurationError for a column that the form does not have."""
    if "/" in name or name in _OWN or not name:
        raise ConfigurationError(f"a column of LeRobot's cannot be called {name!r}: its codec has to name it otherwise")
    if feature.dtype == "video":
        if len(feature.shape) != 3 or feature.shape[2] != 3 or any(side % 2 or side < 2 for side in feature.shape[:2]):
            raise ConfigurationError(f"{name} is {feature.shape}, and video has even sides and 3 channels")
    elif feature.dtype not in _NUMBERS or len(feature.shape) != 1 or feature.shape[0] < 1:
        raise ConfigurationError(
            f"{name} is {feature.dtype} {feature.shape}, and a column here is video, or (N,) of {', '.join(_NUMBERS)}"
        )


def _described(feature: Feature, fps: int) -> dict[str, Any]:
    """A column as ``info.json`` describes it."""
    names = None if feature.names is None else [*feature.names]
    said: dict[str, Any] = {"dtype": feature.dtype, "shape": [*feature.shape], "names": names}
    if feature.dtype != "video":
        return said
    height, width, channels = feature.shape
    video = {
        "video.height": height, "video.width": width, "video.codec": "h264", "video.pix_fmt": "yuv420p",
        "video.is_depth_map": False, "video.fps": fps, "video.channels": channels, "has_audio": False,
    }  # fmt: skip
    return said | {"info": video, "video_info": video}  # as v2.1 calls it, and as v2.0 did, which GR00T N1.5 reads


def _statistics(data: np.ndarray) -> dict[str, list[Any]]:
    """Over the episode's frames; of one number a list of one."""
    rows, exact = data.reshape(len(data), -1), np.float64
    found = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0, exact), "std": rows.std(0, exact)}
    return {name: each.tolist() for name, each in found.items()} | {"count": [len(data)]}


def _lines(path: Path) -> list[dict[str, Any]]:
    return [_json(path, line) for line in _text(path)]


def _text(path: Path) -> Iterator[str]:
    with suppress(FileNotFoundError):
        yield from path.read_text("utf-8").splitlines()


def _json(path: Path, text: str | bytes) -> dict[str, Any]:
    """A map. Raises ConfigurationError."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} is damaged ({told(error)})") from None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path} is damaged: it holds {brief(found)}, expected a map")
    return cast("dict[str, Any]", found)
