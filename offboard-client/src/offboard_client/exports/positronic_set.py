"""Attempts as a data set of Positronic's own: what was recorded, signal by signal, at its own times.

In its form of before timelines had names, which every version reads: a folder for each episode, with a Parquet file of
each vector (``timestamp``, ``value``), an MP4 of each camera whose frame i is at i / 100 s, beside it its true times
(``ts_ns``), ``static.json`` and ``meta.json``. Times are nanoseconds: the robot's clock, from when the episode began.
"""

from __future__ import annotations

import importlib
import json
import platform
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..errors import ConfigurationError, RecordingFailed, told
from ..recording import Episode, SteadyVideo, VideoEncoder, starts
from .attempts import Attempt
from .clock import by_robots_clock
from .entries import Added
from .growing import Growing
from .layout import still
from .positronic_names import OUTCOMES, command_of, file_of
from .steady import LED

#: Its words for what came of a trial.
_OUTCOMES = {ours: theirs for theirs, ours in reversed(OUTCOMES.items())}
#: Frames a second that its videos count in, whatever the camera had.
_RATE = 100
#: Episodes in one folder.
_BLOCK = 1000
_STATIC, _META = "static.json", "meta.json"
#: Which recording an episode is of.
_OF = ("offboard.recording", "offboard.began")
#: Whether a person led the arm, 1 or 0.
_LED = "offboard.intervention"


@dataclass(frozen=True, kw_only=True)
class PositronicSetOptions:
    """The options of ``--to positronic``."""

    task: str | None = None
    """The instruction, for all of them; without it what each was given."""


def open_positronic_set(options: PositronicSetOptions, folder: Path) -> PositronicSet:
    """The data set at ``folder``, new or to be added to. Raises ConfigurationError for what is none."""
    _libraries()
    return PositronicSet(options, folder)


def _libraries() -> tuple[Any, Any]:
    """Apache Arrow, and its Parquet."""
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        said = f"--to positronic writes Parquet by pyarrow, which is not here ({told(error)}): "
        raise ConfigurationError(said + "pip install 'offboard-client[positronic]'") from error


class PositronicSet:
    """A :class:`.entries.DataSet`. Each episode is written beside ``folder`` and put into it whole."""

    def __init__(self, options: PositronicSetOptions, folder: Path) -> None:
        self._options, self._folder = options, folder
        self._known, self._next = _known(folder)
        self._scratch = Growing(folder, copied=False)
        self._taken: tuple[Path, Attempt] | None = None

    def has(self, attempt: Attempt, /) -> bool:
        """See :class:`.entries.DataSet`."""
        return (attempt.name, attempt.began) in self._known

    def add(self, episode: Episode, attempt: Attempt, progress: Callable[[float], None], /) -> Added:
        """See :class:`.entries.DataSet`. Frames are commands: there is one for each that was played."""
        place = self._scratch.path / f"{self._next:012d}"
        writing = _Writing(place, episode, attempt)
        try:
            place.mkdir()
            added = writing.run(progress)
            (place / _STATIC).write_text(json.dumps(_static(episode, attempt, self._options, writing.task), indent=2))
            (place / _META).write_text(json.dumps(_meta(attempt), indent=2))
        except BaseException:
            self._scratch.clear()
            raise
        finally:
            writing.close()
        self._taken = (place, attempt)
        return added

    def commit(self) -> None:
        """See :class:`.entries.DataSet`."""
        assert self._taken is not None
        place, attempt = self._taken
        block = self._folder / f"{self._next // _BLOCK * _BLOCK:012d}"
        block.mkdir(parents=True, exist_ok=True)
        place.rename(block / place.name)
        self._known.add((attempt.name, attempt.began))
        self._next += 1

    def finish(self) -> str:
        """See :class:`.entries.DataSet`."""
        self.discard()
        return f"positronic-server --dataset.path={self._folder}"

    def discard(self) -> None:
        """See :class:`.entries.DataSet`."""
        self._scratch.drop()


class _Writing:
    """The signals of one attempt. ``task``: the instruction that came last."""

    def __init__(self, place: Path, episode: Episode, attempt: Attempt) -> None:
        self._place, self._episode, self._attempt = place, episode, attempt
        self._signals: dict[str, _Signal] = {}
        self._films: dict[str, _Film] = {}
        self.task = ""

    def run(self, progress: Callable[[float], None]) -> Added:
        episode, clip = self._episode, self._attempt.clip
        if "/played" not in episode.topics:
            raise RecordingFailed(f"{episode.path.name} has no command: a data set takes a run's recording")
        begin, end = (0.0, float("inf")) if clip is None else clip.seconds
        first, length = episode.start, max(episode.end - episode.start, 1)
        topics = [topic for topic in episode.topics if topic.startswith(("/observation/", "/action/"))]
        moving = {name for topic, name in episode.topics.items() if topic.startswith("/video/")}
        cameras = [
            topic for topic, name in episode.topics.items()
            if topic.startswith("/video/") or (topic.startswith("/sent/") and name not in moving)
        ]  # fmt: skip
        played = led = 0
        for seconds, said in by_robots_clock(episode, [*topics, *cameras], None if clip is None else clip.at[1]):
            if seconds >= end:
                break
            at = first + round(1e9 * max(seconds, begin))
            message, name = said.message, said.name
            if said.topic in cameras:
                film = self._films.setdefault(name, _Film(self._place, name, episode.path.name))
                film.add(said.topic, message.data, first + round(1e9 * seconds), seconds < begin)
            elif said.topic == "/played":
                self._signal(_LED).add(at, int(message.rung == LED))
                played, led = played + (seconds >= begin), led + (seconds >= begin and message.rung == LED)
            elif hasattr(message, "text"):
                self.task = message.text if name == "task" else self.task
            elif said.topic != "/observed":
                dtype = np.dtype(episode.channels[said.topic].get("dtype", "<f8"))
                if not message.values:
                    raise RecordingFailed(f"{episode.path.name} is damaged: {name} has no numbers")
                values = np.array(message.values, np.int64 if dtype.kind == "b" else dtype)
                own = command_of(name) if said.topic.startswith("/action/") else name
                self._signal(own).add(at, values if len(values) > 1 else values[0])
            progress(min(1.0, (said.at - first) / length))
        if not played:
            raise RecordingFailed(f"{self._attempt} has no command: nothing was played in it")
        for signal in self._signals.values():
            signal.write(self._place)
        for film in self._films.values():
            film.finish()
        return Added(played, led)

    def close(self) -> None:
        """Let go of the videos. Never raises."""
        for film in self._films.values():
            film.close()

    def _signal(self, name: str) -> _Signal:
        return self._signals.setdefault(name, _Signal(name, self._episode.path.name))


class _Signal:
    """Numbers of one name; of several at one time the last."""

    def __init__(self, name: str, episode: str) -> None:
        self._name, self._what = name, f"{name} of {episode}"
        self._times, self._values = list[int](), list[Any]()

    def add(self, at: int, value: Any) -> None:
        if self._values and np.shape(value) != np.shape(self._values[0]):
            raise RecordingFailed(f"{self._what} has {np.size(self._values[0])} numbers, and later {np.size(value)}")
        if self._times and at <= self._times[-1]:
            self._values[-1] = value
            return
        self._times.append(at)
        self._values.append(value)

    def write(self, place: Path) -> None:
        pyarrow, parquet = _libraries()
        columns = {"timestamp": pyarrow.array(self._times, pyarrow.int64()), "value": pyarrow.array(self._values)}
        parquet.write_table(pyarrow.table(columns), place / f"{file_of(self._name)}.parquet")


class _Film:
    """One camera. What came before a range is written from the last frame on that a player can start with."""

    def __init__(self, place: Path, name: str, episode: str) -> None:
        self._times, self._before = list[int](), list[tuple[bytes, int]]()
        self._what = f"{episode}: {name}"
        self._index = place / f"{file_of(name)}.frames.parquet"
        self._video = SteadyVideo(place / f"{file_of(name)}.mp4", _RATE, self._what)
        self._encoder = VideoEncoder()

    def add(self, topic: str, data: bytes, at: int, early: bool) -> None:
        if not topic.startswith("/video/"):  # no more was recorded than what the policy was sent
            data = self._encoder.encode(still(data, self._what), at)
        if starts(data):
            self._before = []
        elif not self._before and not self._times:  # the recording was cut off before its first key frame
            return
        self._before.append((data, at))
        if not early:
            self._flush()

    def finish(self) -> None:
        self._flush()
        self._video.finish()
        if self._times:
            pyarrow, parquet = _libraries()
            table = pyarrow.table({"ts_ns": pyarrow.array(self._times, pyarrow.int64())})
            parquet.write_table(table, self._index)

    def close(self) -> None:
        with suppress(Exception):
            self._video.finish()

    def _flush(self) -> None:
        for data, at in self._before:
            self._video.write(data)
            self._times.append(max(at, self._times[-1] + 1) if self._times else at)
        self._before = []


def _known(folder: Path) -> tuple[set[tuple[str, float]], int]:
    """Which recordings have an episode in it, and the number of the next one. Raises ConfigurationError."""
    known, number = set[tuple[str, float]](), 0
    try:
        blocks = [*folder.iterdir()] if folder.exists() else []
        episodes = [each for block in blocks if _numbered(block) for each in block.iterdir() if _numbered(each)]
        if blocks and not episodes and not any(map(_numbered, blocks)):
            raise ConfigurationError(
                f"{folder} is there, and no data set of Positronic's: nothing is written over; say another --output-dir"
            )
        for episode in episodes:
            number = max(number, int(episode.name) + 1)
            with suppress(FileNotFoundError, ValueError):
                said: Any = json.loads((episode / _STATIC).read_bytes())
                known.add((str(said.get(_OF[0])), float(said.get(_OF[1]) or 0)))
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be read: {error.strerror or told(error)}") from error
    return known, number


def _numbered(path: Path) -> bool:
    return path.is_dir() and path.name.isdigit() and len(path.name) == 12


def _static(episode: Episode, attempt: Attempt, options: PositronicSetOptions, task: str) -> dict[str, Any]:
    review, run = attempt.review, cast("dict[str, Any]", episode.about.get("run") or {})
    said: dict[str, Any] = {
        "task": options.task if options.task is not None else task or run.get("task"),
        "eval.outcome": _OUTCOMES.get(str(attempt.outcome)), "eval.success": episode.outcome.get("success"),
        "eval.successful_items": review.items, "eval.total_items": review.items_total,
        "eval.notes": review.note or None, "eval.duration": episode.outcome.get("seconds"),
        "eval.seed": episode.about.get("seed"), _OF[0]: attempt.name, _OF[1]: attempt.began,
        "offboard.outcome": attempt.outcome, "offboard.score": attempt.score, "offboard.tags": [*review.tags],
        "offboard.command": run.get("command"),
        "offboard.clip": None if attempt.clip is None else attempt.clip.as_dict(),
    }  # fmt: skip
    return {name: value for name, value in said.items() if value is not None}


def _meta(attempt: Attempt) -> dict[str, Any]:
    return {
        "schema_version": 1, "uid": uuid.uuid4().hex, "created_ts_ns": round(attempt.began * 1e9),
        "writer": {
            "name": "offboard", "version": version("offboard-client"), "python": sys.version.partition(" ")[0],
            "platform": platform.platform(),
        },
    }  # fmt: skip
