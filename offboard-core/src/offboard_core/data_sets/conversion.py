"""Episodes of a source through a codec into a data set, which is there whole or as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from offboard_client.errors import BadObservation, ConfigurationError, RecordingFailed, told
from offboard_client.exports import Growing
from offboard_client.terminal import unbroken

from ..types import Codec, Feature
from .record import DataSetRecord, read_data_set
from .seam import DataSetForm, DataSetWriter, SourceEpisode, SourceFrame

#: What only a simulation can know; a policy that has learnt from it is blind on a robot.
_PRIVILEGED = "sim."
#: Dtypes of columns that hold pictures.
_PICTURES = ("video", "image")

#: What a form's factory is to :class:`Conversion`.
OpenWriter = Callable[[Path, DataSetForm], DataSetWriter]


def check_codec(name: str, codec: Codec) -> None:
    """Raises ConfigurationError for one that no data set can be made by, or should be."""
    where = f"the codec {name}"
    if not codec.features:
        raise ConfigurationError(
            f"{where} is for serving only: it makes no training data; `offboard codecs` lists others"
        )
    privileged = sorted(each for each in codec.trained_on if each.startswith(_PRIVILEGED))
    if privileged:
        raise ConfigurationError(
            f"{where} would be trained on {', '.join(privileged)}, which only a simulation knows: no robot has it. "
            "Choose a codec that reads what a robot measures and sees"
        )


@dataclass
class Added:
    """``frames`` of an episode; in ``led`` of them a person led the arm. ``left_out``: why → how many others.

    ``odd``: how its numbers differ from those of the first episode that is there, "" where nobody says they do.
    """

    frames: int = 0
    led: int = 0
    tasks: list[str] = field(default_factory=list[str])
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    odd: str = ""


class Conversion:
    """A data set at ``folder`` that episodes are added to; what is there already is as it was until :meth:`keep`.

    ``name`` and ``open_writer``: of the form. ``task``: the instruction of all frames, in place of their own. Raises
    ConfigurationError where something else is there, or what was made in another way.
    """

    def __init__(
        self, folder: Path, name: str, open_writer: OpenWriter, form: DataSetForm, codec: Codec, task: str | None = None
    ) -> None:
        check_codec(form.codec, codec)
        self._shown = form.target or folder
        self._folder, self._open, self._form, self._codec, self._task = folder, open_writer, form, codec, task
        self._wants_task = (asked := codec.meta.observation.get("task")) is not None and asked.required
        made = DataSetRecord.of(name, form)
        before = read_data_set(folder)
        if before is not None:
            before.check_same(made, self._shown)
        self._record = made if before is None else before
        self._there = self._record.identities
        #: Of what was added here, the identity → the name.
        self._taken = dict[str, str]()
        #: Made for the first episode: what is there already is copied into it.
        self._growing: Growing | None = None
        self._writer: DataSetWriter | None = None
        self._added = 0
        #: Of the episode that was begun last.
        self.added = Added()

    @property
    def fps(self) -> float:
        """Rows a second."""
        return self._form.fps

    def has(self, episode: SourceEpisode) -> bool:
        """Whether it is in the data set already, or comes a second time."""
        return episode.identity in self._there

    def taken(self, episode: SourceEpisode) -> str | None:
        """The name under which it was added here; None where it was in the data set before, or is not."""
        return self._taken.get(episode.identity)

    def check(self, episode: SourceEpisode) -> None:
        """Raises RecordingFailed for an episode whose frames have not all that the codec is trained on."""
        if absent := sorted(self._codec.trained_on - {*episode.names()}):
            raise RecordingFailed(
                f"{episode.name} has no {', '.join(absent)}, which {self._form.codec} is trained on; "
                + episode.advice(absent)
            )

    def add(self, episode: SourceEpisode, progress: Callable[[float], None] = lambda seconds: None) -> Added:
        """Take an episode, all of it or nothing; ``progress`` is told the seconds of it that are done.

        Raises RecordingFailed for one that cannot be taken, after which others may; else nothing but :meth:`discard`
        may follow, and after an interruption :meth:`keep`, too.
        """
        self.added = added = Added()
        try:
            self.check(episode)
            origin = _plain(episode)
            for frame in _read(episode, self._form.fps, self._codec.trained_on):
                task = frame.task if self._task is None else self._task
                row = self._row(episode, frame, task)
                self._begun().add(row, task)
                added.frames, added.led = added.frames + 1, added.led + frame.led
                if task not in added.tasks:
                    added.tasks.append(task)
                progress(frame.seconds)
            added.left_out = {why: count for why, count in episode.left_out.items() if count}
            if not added.frames:
                raise RecordingFailed(f"{episode.name} has no frame")
            added.odd = self._odd(episode.name, origin)
            with unbroken():
                self._begun().save_episode()
                self._there.add(episode.identity)
                self._taken[episode.identity] = episode.name
                self._added += 1
                self._record.add({
                    **origin, "name": episode.name, "identity": episode.identity, "frames": added.frames,
                    "led": added.led, "tasks": added.tasks, "left_out": added.left_out,
                })  # fmt: skip
        except RecordingFailed:
            self._forget()
            raise
        except OSError as error:
            raise self._unwritable(error) from error
        return added

    def keep(self) -> str:
        """The data set is what was added to it; how it is used, in one line, or "" where nothing was.

        Whatever it raises, :meth:`discard` follows.
        """
        if not self._added:
            self.discard()
            return ""
        assert self._writer is not None
        assert self._growing is not None
        try:
            self._forget()
            use = self._writer.finish()
            self._writer = None
            self._record.write(self._growing.path)
            self._growing.keep()
        except OSError as error:
            raise self._unwritable(error) from error
        return use

    def discard(self) -> None:
        """Nothing half written stays; what was there before is as it was. Never raises."""
        if self._writer is not None:
            self._writer.discard()
            self._writer = None
        if self._growing is not None:
            self._growing.drop()

    # -- inside ----------------------------------------------------------------------------------------
    def _begun(self) -> DataSetWriter:
        if self._writer is None:
            self._growing = Growing(self._folder)
            self._writer = self._open(self._growing.path, self._form)
        return self._writer

    def _forget(self) -> None:
        if self._writer is not None:
            try:
                self._writer.forget()
            except OSError as error:
                raise self._unwritable(error) from error

    def _row(self, episode: SourceEpisode, frame: SourceFrame, task: str) -> dict[str, Any]:
        """The columns, as a writer is promised them. Raises RecordingFailed."""
        at = f"{episode.name} at {frame.seconds:.3f} s"
        if self._wants_task and not task.strip():
            raise RecordingFailed(
                f"{episode.name} has no instruction, and {self._form.codec} serves none without: --task gives it one"
            )
        try:
            row = self._codec.label({**frame.values, "task": task})
        except BadObservation as error:
            raise RecordingFailed(f"{at} cannot be a row of {self._form.codec}: {error.text}") from error
        return {name: _column(name, row.get(name), feature, at) for name, feature in self._form.features.items()}

    def _odd(self, name: str, origin: Mapping[str, Any]) -> str:
        """Of another robot, most likely: its numbers fit, and may not mean the same."""
        own = _channels(origin)
        other = next((entry for entry in self._record.episodes if _channels(entry)), dict[str, Any]())
        theirs = _channels(other)
        for each in sorted(self._codec.trained_on & own.keys() & theirs.keys()):
            if own[each] != theirs[each] and not each.startswith("image."):
                return (
                    f"{name} is of another robot: its {each} is ({own[each]}), and that of {other['name']} "
                    f"({theirs[each]})"
                )
        return ""

    def _unwritable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(f"{self._shown} cannot be written: {error.strerror or told(error)}; it is as it was")


def _channels(entry: Mapping[str, Any]) -> dict[str, Any]:
    found: Any = entry.get("channels")
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _read(episode: SourceEpisode, fps: float, wanted: frozenset[str]) -> Iterator[SourceFrame]:
    """Its frames; a disk that cannot be read is the episode's fault, and not the data set's."""
    try:
        yield from episode.frames(fps, wanted)
    except OSError as error:
        raise RecordingFailed(f"{episode.name} cannot be read: {error.strerror or told(error)}") from error


def _plain(episode: SourceEpisode) -> Mapping[str, Any]:
    """Its origin. Raises RecordingFailed where that cannot be written down, in the end of all others."""
    try:
        return json.loads(json.dumps(episode.origin, allow_nan=False))
    except (ValueError, RecursionError, TypeError) as error:
        raise RecordingFailed(
            f"what is said of {episode.name} cannot be written into a data set: {told(error)}"
        ) from error


def _column(name: str, value: Any, feature: Feature, at: str) -> Any:
    found = np.asarray(value, np.uint8 if feature.dtype in _PICTURES else feature.dtype)
    if found.shape != feature.shape:
        raise ConfigurationError(
            f"the codec makes {name} {found.shape} of {at}, and says that it is {feature.shape}: this is its fault"
        )
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise RecordingFailed(f"{name} of {at} is not finite: {found.tolist()}")
    return found


def plain_options(options: Any) -> Mapping[str, Any]:
    """A codec's options as plain JSON data, paths as they are written."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()}
