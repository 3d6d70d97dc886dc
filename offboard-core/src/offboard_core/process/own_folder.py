"""A folder for a while: it goes with who made it, also where that is killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from pathlib import Path

_PREFIX = "offboard-"
#: What tempfile adds to that. A folder that somebody calls ``offboard-load-test`` is theirs.
_ADDED = re.compile("[a-z0-9_]{8}")
#: The file that says who made a folder, for there are names of eight letters, too. It comes once the folder is locked.
_MARK = ".offboard-own"
_OPEN: set[OwnFolder] = set()


class OwnFolder:
    """A folder of this process's, among the machine's temporary ones, with nothing in it but a hidden mark. Whoever
    finds that unlocked knows that who made it was killed: making one removes what was left so. Usable as a context
    manager. Raises OSError.

    ``path``: where it is. ``what``: part of its name.
    """

    def __init__(self, what: str) -> None:
        sweep(what)
        self._folder = tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{what}-")
        self.path = Path(self._folder.name)
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        _OPEN.add(self)
        with contextlib.suppress(OSError):  # without locks or room it is never marked, so nobody takes it for one left
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (self.path / _MARK).touch(exist_ok=False)

    def remove(self) -> None:
        """Remove it, with what is in it. Idempotent."""
        _OPEN.discard(self)
        self._folder.cleanup()
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.remove()


def sweep(what: str) -> None:
    """Remove what processes of this user's have left that were killed, and nothing else."""
    prefix = f"{_PREFIX}{what}-"
    for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        if not _ADDED.fullmatch(path.name.removeprefix(prefix)):
            continue
        with contextlib.suppress(OSError):  # it is locked, or another's, or gone
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                mark = os.stat(_MARK, dir_fd=lock, follow_symlinks=False)
                if os.fstat(lock).st_uid == mark.st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path)
            finally:
                os.close(lock)


def remove_own_folders() -> None:
    """Those that this process still has: for one that ends with a thread that cannot be stopped."""
    for folder in [*_OPEN]:
        with contextlib.suppress(OSError):
            folder.remove()


__all__ = ["OwnFolder", "remove_own_folders", "sweep"]
