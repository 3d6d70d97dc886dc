"""Fetching a remote folder once, in pieces that survive an interruption."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from offboard_client.errors import ConfigurationError

from ...cache import alone, cache_folder
from ...types import Progress, ReportProgress
from .folder import RemoteFile, RemoteFolder

#: What is fetched at a time, and so what an interruption may cost.
BLOCK = 16 * 2**20
#: Attempts for one block, before the load fails; what is there already stays for the next load.
ATTEMPTS = 3
_RECORD = ".offboard-fetched.json"
_PART = ".offboard-part"


def fetch(folder: RemoteFolder, report: ReportProgress, keep: Callable[[str], bool] = lambda path: True) -> Path:
    """A local copy of the files of ``folder`` whose relative path ``keep`` wants.

    What is there already, whole and of the same version, is not fetched again; what was interrupted goes on where it
    stopped; a file counts once its size is right. Two processes that want the same folder take turns.
    Raises ConfigurationError: nothing to fetch, no room, or what the network says.
    """
    wanted = {path: file for path, file in folder.files().items() if keep(path)}
    if not wanted:
        raise ConfigurationError(f"{folder.url} holds no file to fetch")
    place = place_of(folder.url)
    try:
        return _fetch(folder, wanted, place, report)
    except OSError as error:
        raise ConfigurationError(
            f"the cache {error.filename or place} cannot be used: {error.strerror or error} (OFFBOARD_CACHE moves it)"
        ) from None


def _fetch(folder: RemoteFolder, wanted: Mapping[str, RemoteFile], place: Path, report: ReportProgress) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    with alone(place, "fetching this checkpoint", report):
        done = _read_record(place)
        missing = [file for path, file in wanted.items() if not _is_there(place, file, done.get(path))]
        progress = _Progress(folder.name, missing, report)
        for file in missing:
            _fetch_file(folder, file, place, progress)
            done[file.path] = file.version
            _write_record(place, done)
        _remove_others(place, wanted)
    return place


def place_of(url: str) -> Path:
    """A folder of its own for each URL, with a name that a person recognises."""
    words = re.sub(r"[^A-Za-z0-9._-]+", "-", url).strip("-.")[-80:]
    return cache_folder() / "remote" / f"{words}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"


def _is_there(place: Path, file: RemoteFile, version: str | None) -> bool:
    path = place / file.path
    return version == file.version and path.is_file() and path.stat().st_size == file.size


def _fetch_file(folder: RemoteFolder, file: RemoteFile, place: Path, progress: _Progress) -> None:
    target = place / file.path
    part = target.with_name(f"{target.name}.{file.version}{_PART}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as sink:
            if sink.tell() > file.size:
                sink.truncate(0)
            progress.had(sink.tell())
            while (at := sink.tell()) < file.size:
                block = _read_block(folder, file, at)
                sink.write(block)
                sink.flush()
                progress.got(len(block))
            os.fsync(sink.fileno())
        os.replace(part, target)
    except OSError as error:
        raise ConfigurationError(
            f"{target} cannot be written: {error.strerror} (OFFBOARD_CACHE moves the cache)"
        ) from error


def _read_block(folder: RemoteFolder, file: RemoteFile, at: int) -> bytes:
    end = min(file.size, at + BLOCK)
    for attempt in range(ATTEMPTS):
        try:
            block = folder.read(file.path, at, end)
        except ConfigurationError:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(0.2 * 2**attempt)
            continue
        if len(block) == end - at:
            return block
    raise ConfigurationError(
        f"{folder.url}/{file.path} ends early: it was replaced while it was fetched, or the store lies; load it again"
    )


def _remove_others(place: Path, wanted: Mapping[str, RemoteFile]) -> None:
    """What an older version of the folder left: a checkpoint is its files and no others."""
    for path in place.rglob("*"):
        relative = path.relative_to(place).as_posix()
        if path.is_file() and relative not in wanted and relative != _RECORD:
            path.unlink()


def _read_record(place: Path) -> dict[str, str]:
    try:
        record = json.loads((place / _RECORD).read_bytes())
    except (OSError, ValueError):
        return {}
    return cast("dict[str, str]", record) if isinstance(record, dict) else {}


def _write_record(place: Path, done: Mapping[str, str]) -> None:
    fresh = place / f"{_RECORD}.new"
    fresh.write_text(json.dumps(dict(done)), "utf-8")
    os.replace(fresh, place / _RECORD)


class _Progress:
    """Tells how far it is, in bytes, now and then."""

    def __init__(self, name: str, files: list[RemoteFile], report: ReportProgress) -> None:
        self._name, self._report = name, report
        self._total = sum(file.size for file in files)
        self._have = 0
        self._say()

    def had(self, size: int) -> None:
        """This much was there before."""
        self.got(size)

    def got(self, size: int) -> None:
        """This much more is there."""
        self._have += size
        self._say()

    def _say(self) -> None:
        if self._total:
            self._report(Progress(f"fetching {self._name}", self._have, self._total))
