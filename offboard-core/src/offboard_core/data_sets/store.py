"""A data set at a URL: a copy of it on this machine that is added to, and what brings back what has changed."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from contextlib import ExitStack
from pathlib import Path

from offboard_client.errors import ConfigurationError, told

from ..cache import alone
from ..checkpoints.remote import RemoteFile, RemoteFolder, fetch, place_of
from ..types import Progress, ReportProgress
from .hub import Hub
from .record import RECORD

#: What is read first of a data set, and so is written last: who reads meanwhile sees what was there before.
_META = "meta/"
#: It is there while files are written there one after the other, and says who does.
_MARK = "meta/offboard.uploading"
#: Files of a repository on the Hub that are none of a data set's.
_NOT_OURS = (".gitattributes", "README.md")
#: Of each file, by its path, as it was when here and there were the same: the store's version, the size in bytes, and
#: when it was written here.
Known = dict[str, tuple[str, int, int]]


class RemoteSet:
    """The data set at ``url`` (``s3://bucket/path``, ``gs://…``, ``hf://datasets/OWNER/NAME``).

    A context: within it :attr:`folder` is a copy of it on this machine, which no other process is at. Raises
    ConfigurationError for what is wrong with the place, the credentials or the connection.
    """

    def __init__(self, url: str, report: ReportProgress) -> None:
        self.url, self._report = url.rstrip("/"), report
        self._hub = Hub(self.url) if self.url.startswith("hf://") else None
        place = place_of(self.url)
        self._place = place.parent.with_name("data-sets") / place.name
        #: Where it is on this machine.
        self.folder = self._place / "set"
        self._mark = self._place / "uploading"
        self._open = ExitStack()

    def __enter__(self) -> RemoteSet:
        try:
            self._place.mkdir(parents=True, exist_ok=True)
            self._open.enter_context(alone(self._place, "converting into this data set", self._report))
            self._bring()
        except OSError as error:
            self._open.close()
            raise ConfigurationError(
                f"{error.filename or self._place} cannot be used: {error.strerror or told(error)} (OFFBOARD_CACHE "
                "moves the cache)"
            ) from error
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def push(self) -> int:
        """Bring back what has changed here; how many files that were.

        Raises ConfigurationError where that cannot be; what is here stays, and the next one goes on.
        """
        known, here = self._known(), _files(self.folder)
        changed = [path for path, stat in here.items() if path not in known or known[path][1:] != stat]
        gone = [path for path in known if path not in here]
        if not changed and not gone:
            return 0
        changed.sort(key=lambda path: (path.startswith(_META), path == RECORD.as_posix(), path))
        try:
            if self._hub is not None:
                self._report(f"{len(changed)} files are uploaded")
                self._hub.push(self.folder, changed, gone)
            else:
                self._put(RemoteFolder(self.url), changed, gone)
            _, there = self._there()
            for path, (size, _) in here.items():
                if path not in there or there[path].size != size:
                    raise ConfigurationError(f"{self.url}/{path} is not there as it was written")
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{error.text}. What was converted is kept on this machine: the same command goes on with it"
            ) from error
        self._keep({path: (there[path].version, *stat) for path, stat in here.items()})
        return len(changed)

    # -- inside ----------------------------------------------------------------------------------------
    def _there(self) -> tuple[RemoteFolder | None, dict[str, RemoteFile]]:
        """What is at the URL; nothing where there is no repository yet."""
        if self._hub is not None and not self._hub.exists():
            return None, {}
        folder = RemoteFolder(self.url)
        return folder, {path: file for path, file in folder.files().items() if path not in _NOT_OURS}

    def _bring(self) -> None:
        """Make the copy what is there, and leave what was converted here and never brought back."""
        remote, there = self._there()
        if remote is not None and there.pop(_MARK, None) is not None:
            if self._mark.exists() and self._mark.read_bytes() == remote.read(_MARK):
                return
            raise ConfigurationError(
                f"{self.url} is being written by another machine, or an upload of it was interrupted there: run the "
                f"same command there again; if nobody will, remove {_MARK} in it, and see what is whole"
            )
        known = self._known()
        if there and RECORD.as_posix() not in there and not known:
            raise ConfigurationError(
                f"{self.url} is there, and no data set that `offboard convert` wrote: nothing is written over; say "
                "another --output-dir"
            )
        moved = {path for path, file in there.items() if path not in known or known[path][0] != file.version}
        gone = {path for path in known if path not in there}
        if not moved and not gone:
            return
        here = _files(self.folder)
        if remote is None or not there:  # somebody has removed it there
            shutil.rmtree(self.folder, ignore_errors=True)
            self._keep({})
            return
        stale = moved | {path for path in there if path not in moved and here.get(path) != known[path][1:]}
        brought = fetch(remote, self._report, stale.__contains__)
        for path in here.keys() - there.keys():
            (self.folder / path).unlink()
        for path in stale:
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(brought / path, self.folder / path)
        shutil.rmtree(brought, ignore_errors=True)
        here = _files(self.folder)
        self._keep({path: (there[path].version, *here[path]) for path in there})

    def _put(self, remote: RemoteFolder, changed: list[str], gone: list[str]) -> None:
        self._mark.write_text(secrets.token_hex(16), "utf-8")
        remote.write(_MARK, self._mark)
        total, done = sum((self.folder / path).stat().st_size for path in changed), 0
        for path in changed:
            self._report(Progress(f"uploading {path}", done, total))
            remote.write(path, self.folder / path)
            done += (self.folder / path).stat().st_size
        for path in (*gone, _MARK):
            remote.remove(path)

    def _known(self) -> Known:
        try:
            found = json.loads((self._place / "known.json").read_bytes())
            return {path: (str(version), int(size), int(at)) for path, (version, size, at) in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _keep(self, known: Known) -> None:
        fresh = self._place / "known.json.new"
        fresh.write_text(json.dumps(known), "utf-8")
        os.replace(fresh, self._place / "known.json")


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    """Of each file below it the size in bytes, and when it was written in nanoseconds."""
    found = dict[str, tuple[int, int]]()
    for path in folder.rglob("*"):
        if path.is_file():
            stat = path.stat()
            found[path.relative_to(folder).as_posix()] = (stat.st_size, stat.st_mtime_ns)
    return found
