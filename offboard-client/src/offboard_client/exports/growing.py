"""A folder that is there whole or not at all, and as it was until then."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from ..errors import ConfigurationError, told

try:
    import fcntl
except ImportError:  # Windows, where nobody can tell whether another process writes
    fcntl = None


class Growing:
    """``path``: a folder to write into, beside ``target`` and with what that has; :meth:`keep` puts it in its place.

    What a process that was killed left of one is removed by the next. With ``copied`` False it is empty, and
    ``target`` is filled with parts of it.
    """

    def __init__(self, target: Path, copied: bool = True) -> None:
        """Raises ConfigurationError where it cannot be made, or where another process is at it."""
        self._target = target
        self.path = target.with_name(f".{target.name}.part")
        self._before = target.with_name(f".{target.name}.before")
        self._lock: int | None = None
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self._alone()
            if self._before.exists():  # one was killed between two renames
                if target.exists():
                    shutil.rmtree(self._before)
                else:
                    self._before.rename(target)
            if self.path.exists():
                shutil.rmtree(self.path)
            if not copied:
                self.path.mkdir()
            elif target.exists() and any(target.iterdir()):  # an empty one is nothing to go on with
                shutil.copytree(target, self.path)
        except OSError as error:
            self.drop()
            raise ConfigurationError(
                f"{target} cannot be written: {error.strerror or told(error)}; it is as it was"
            ) from error
        except BaseException:
            self.drop()
            raise

    def keep(self) -> None:
        """``target`` is what was written. Raises OSError."""
        if self._target.exists():
            self._target.rename(self._before)
        self.path.rename(self._target)
        shutil.rmtree(self._before, ignore_errors=True)
        self._release()

    def clear(self) -> None:
        """What was written so far is not wanted. Raises OSError."""
        shutil.rmtree(self.path)
        self.path.mkdir()

    def drop(self) -> None:
        """``target`` is as it was. Never raises."""
        if self._lock is not None or fcntl is None:
            shutil.rmtree(self.path, ignore_errors=True)
        self._release()

    def _alone(self) -> int | None:
        if fcntl is None:
            return None
        path = self._target.with_name(f".{self._target.name}.lock")
        while True:
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.exists() and os.path.samestat(os.fstat(lock), path.stat()):
                    return lock
            except BlockingIOError:
                os.close(lock)
                raise ConfigurationError(
                    f"another process writes {self._target} just now: wait until it has ended"
                ) from None
            except FileNotFoundError:
                pass
            except OSError:  # a file system without locks
                return lock
            os.close(lock)  # of a file that whoever had it has removed meanwhile

    def _release(self) -> None:
        if self._lock is None:
            return
        with suppress(OSError):
            self._target.with_name(f".{self._target.name}.lock").unlink()
        os.close(self._lock)
        self._lock = None
