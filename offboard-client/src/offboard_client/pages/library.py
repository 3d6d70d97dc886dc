"""A folder of recordings as a list: each is looked at once, and again when it has changed."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, NotFound, OffboardError, told
from ..evaluation import Trial, as_played, hidden_models, log_of, masked, read_review, review_path, trials_of
from ..recording import glance
from .film import cameras_of

log = logging.getLogger(__name__)

#: Folders within folders so deep, and so many recordings, are looked through.
_DEEP, _MOST = 4, 20_000
#: What a model is called whose evaluation is not found, and was blind.
UNNAMED = "not named: its evaluation was blind, and is not found"


@dataclass(frozen=True)
class Entry:
    """``id``: what addresses call it. ``stamp``: of the file as it was looked at. ``row``: what the table says."""

    id: str
    path: Path
    stamp: str
    row: dict[str, Any] = field(compare=False)


class Library:
    """The recordings of one folder and those within it. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        """Raises ConfigurationError for what is no folder, or holds no recording."""
        self.folder = folder
        self._entries: dict[str, Entry] = {}
        self._reviews: dict[str, tuple[str, dict[str, Any]]] = {}
        # Of each folder: how its evaluation's log was when it was read, what came of each recording, and what models
        # are called as long as nobody shall know them.
        self._trials: dict[Path, tuple[str, dict[str, dict[str, Any]], dict[str, str]]] = {}
        self._lock = threading.Lock()
        if not folder.is_dir():
            raise ConfigurationError(
                f"{folder} is {'no folder' if folder.exists() else 'not there'}: give the folder that `offboard run "
                "--output-dir` recorded into"
            )
        if not any(True for _ in self._walk()):
            raise ConfigurationError(
                f"{folder} holds no recording (*.mcap): `offboard run … --output-dir {folder}` makes them"
            )

    def rows(self) -> list[dict[str, Any]]:
        """What the table says of each, the newest first."""
        with self._lock:
            found = {entry.id: entry for path in self._walk() if (entry := self._entry(path)) is not None}
            self._entries = found
            self._reviews = {name: review for name, review in self._reviews.items() if name in found}
            recordings = {entry.id: as_played(entry.path) for entry in found.values()}
            trials = {folder: self._played(folder) for folder in {path.parent for path in recordings.values()}}
            rows: list[dict[str, Any]] = []
            for entry in found.values():
                recording = recordings[entry.id]
                played, labels = trials[recording.parent]
                row = {**entry.row, "review": self._review(entry), "trial": played.get(recording.name)}
                if row.get("trial_was_blind") and not log_of(recording.parent).is_file():
                    # Moved away from its evaluation: nobody knows whether names may be told by now.
                    labels = {str(row["model"]): UNNAMED}
                rows.append(_blind(row, labels) if labels else row)
        return sorted(rows, key=lambda row: (-(row.get("at") or 0.0), row["name"]))

    def find(self, name: str) -> Entry:
        """The recording with this id, as it is now. Raises NotFound."""
        with self._lock:
            if name not in self._entries:
                self._entries |= {entry.id: entry for path in self._walk() if (entry := self._entry(path)) is not None}
            if name not in self._entries:
                raise NotFound(f"there is no recording {name[:64]!r} in {self.folder}: look at the list again")
            entry = self._entry(self._entries[name].path)
            if entry is None:
                raise NotFound(f"{self._entries.pop(name).path.name} is gone: it was moved or removed meanwhile")
            self._entries[name] = entry
            return entry

    # -- inside ----------------------------------------------------------------------------------------
    def _walk(self) -> Iterator[Path]:
        count = 0
        for folder, folders, files in os.walk(self.folder):
            here = Path(folder)
            deep = len(here.relative_to(self.folder).parts)
            folders[:] = sorted(name for name in folders if not name.startswith(".")) if deep < _DEEP else []
            for name in sorted(files):
                if name.endswith(".mcap") and not name.startswith(".") and (count := count + 1) <= _MOST:
                    yield here / name

    def _entry(self, path: Path) -> Entry | None:
        """None where the file has gone."""
        try:
            found = path.stat()
        except OSError:
            return None
        name = path.relative_to(self.folder).as_posix()
        key, stamp = hashlib.sha256(name.encode()).hexdigest()[:16], f"{found.st_mtime_ns:x}-{found.st_size:x}"
        before = self._entries.get(key)
        if before is not None and before.stamp == stamp:
            return before
        return Entry(key, path, stamp, {"id": key, "name": name, "stamp": stamp, **_row(path)})

    def _played(self, folder: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        """What came of the trials whose recordings these are, where they are an evaluation's; and its labels, while it
        is blind."""
        try:
            found = log_of(folder).stat()
        except OSError:
            return {}, {}
        stamp = f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"
        before = self._trials.get(folder)
        if before is None or before[0] != stamp:
            try:
                trials = {name: _said(trial) for name, trial in trials_of(folder).items()}
                labels = hidden_models(log_of(folder))
            except OffboardError as error:
                log.warning("what came of the trials is not shown: %s", error.text)
                trials, labels = {}, {}
            self._trials[folder] = before = (stamp, trials, labels)
        return before[1:]

    def _review(self, entry: Entry) -> dict[str, Any]:
        try:
            found = review_path(entry.path).stat()
        except OSError:
            return {}
        stamp = f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"
        before = self._reviews.get(entry.id)
        if before is None or before[0] != stamp:
            try:
                said = read_review(entry.path).as_dict()
            except OffboardError as error:
                said = {"error": error.text}
            self._reviews[entry.id] = before = (stamp, said)
        return before[1]


def _said(trial: Trial) -> dict[str, Any]:
    return {
        "outcome": trial.outcome, "score": trial.score, "items": trial.items, "items_total": trial.items_total,
        "tags": [*trial.tags], "note": trial.note,
    }  # fmt: skip


def _blind(row: dict[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """A row of an evaluation that is blind: who scores it must not see which model is which."""
    mask, failure, trial = masked(labels), row.get("failure"), row["trial"]
    return row | {
        "blind": True, "model": labels.get(row.get("model", ""), ""), "codec": "",
        "failure": None if failure is None else [mask(str(each)) for each in failure],
        "trial": None if trial is None else trial | {"note": mask(trial["note"])},
    }  # fmt: skip


def _row(path: Path) -> dict[str, Any]:
    try:
        seen = glance(path)
    except OffboardError as error:
        return {"state": "broken", "error": error.text}
    except Exception as error:  # whatever stands in a file that others wrote, the list is shown
        return {"state": "broken", "error": f"{path.name} cannot be read: {told(error)}"}
    about, outcome, meta = seen.about, seen.outcome, _map(seen.about.get("meta"))
    run = _map(about.get("run"))
    seconds = outcome.get("seconds")
    if not isinstance(seconds, int | float):
        seconds = (seen.end - seen.start) / 1e9 if seen.end else None
    failure = outcome.get("failure")
    return {
        "state": "whole" if seen.finished else "unfinished", "at": about.get("wall_time"), "seconds": seconds,
        "number": about.get("number"), "seed": about.get("seed"), "task": _word(run.get("task")),
        "model": _word(run.get("model")) or model_of(meta), "codec": _word(meta.get("codec")),
        "driver": _word(run.get("driver")), "trial_was_blind": run.get("blind") is True,
        "number_of_trial": _count(run.get("trial")), "start": _count(run.get("start")),
        "success": outcome.get("success"), "failure": failure if isinstance(failure, list) else None,
        "stopped": bool(outcome.get("stopped")), "missed": outcome.get("missed") or 0, "size": seen.size,
        "cameras": list(cameras_of(seen.topics)),
    }  # fmt: skip


def model_of(meta: Mapping[str, Any]) -> str:
    """What played, as people call it."""
    named = (_word(meta.get(name)) for name in ("model_id", "checkpoint_id", "experiment_name", "type"))
    return next((name for name in named if name), "")


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 2**53 else None


def _word(value: object) -> str:
    return value[:500] if isinstance(value, str) else ""
