"""uv: where it is, what it is told, and what went wrong with it."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from offboard_client.errors import ConfigurationError, LoadFailed

from ..process import Child, Fault, diagnose

#: What changes which packages are installed, or where; all else of uv's own settings is the user's.
_NOT_FOR_US = {
    "UV_BREAK_SYSTEM_PACKAGES", "UV_BUILD_CONSTRAINT", "UV_CONSTRAINT", "UV_EXCLUDE", "UV_EXCLUDE_NEWER",
    "UV_NO_BINARY", "UV_NO_BINARY_PACKAGE", "UV_NO_BUILD", "UV_NO_VERIFY_HASHES", "UV_OVERRIDE", "UV_PRERELEASE",
    "UV_PROJECT", "UV_PROJECT_ENVIRONMENT", "UV_PYTHON", "UV_REQUIRE_HASHES", "UV_RESOLUTION", "UV_SYSTEM_PYTHON",
    "UV_TORCH_BACKEND", "UV_VENV_CLEAR", "UV_VENV_SEED", "UV_WORKING_DIR", "UV_WORKING_DIRECTORY",
}  # fmt: skip
#: Others that it reads: versions of Python, passwords, libraries.
_OTHERS = ("PYENV_VERSION", "PYENV_ROOT", "NETRC")
#: Seconds that uv may go without a word and without a byte.
PATIENCE = 600.0
#: Seconds between two looks.
_LOOK = 0.25
_FELL_OVER = re.compile(r"Failed to inspect Python interpreter from .*?search path at `(.+)`")
_PYENV_HAS = re.compile(r"^\s*(\d+\.\d+\.\d+)\s*$", re.MULTILINE)
_USER, _QUERY = re.compile(r"(?<=://)[^/\s@]*@"), re.compile(r"(?<=\w)\?[^\s)'\"`]+=[^\s)'\"`]*")

FAULTS = (
    Fault(
        r"(?i)hash mismatch",
        "the package index gives another file than the list names",
        "see that the index is the one you mean (uv's own settings); the list is the vendor's, and names what it was "
        "tested with",
    ),
    Fault(
        r"No space left on device|File too large|Disk quota exceeded|SIGXFSZ|os error (27|28|122)\b",
        "there is no room for it",
        "free some, or keep the cache elsewhere (OFFBOARD_CACHE; uv's own: UV_CACHE_DIR)",
    ),
    Fault(
        r"Read-only file system|Permission denied",
        "a folder cannot be written to",
        "name another one (OFFBOARD_CACHE; uv's own: UV_CACHE_DIR), or make the environment as who may write there",
    ),
    Fault(
        r"Failed to inspect Python interpreter",
        "a Python that uv finds here does not run",
        "mend it or take it off the PATH; of pyenv's the right one is chosen by PYENV_VERSION; or let uv fetch one "
        "(`uv python install`)",
    ),
    Fault(
        r"\b(401|403)\b",
        "the package index refused it",
        "give uv the user and the password (its own settings, such as UV_INDEX_…_PASSWORD or ~/.netrc)",
    ),
    Fault(
        r"error sending request|[Dd]ns error|Connection refused|[Cc]ould not connect|timed out|operation timed|offline"
        r"|[Nn]etwork|Failed to (fetch|download)",
        "the package index cannot be reached",
        "see that this machine reaches it (HTTPS_PROXY, uv's own settings), or make the environment where it does: "
        "`offboard envs make` fills a cache that can be copied",
    ),
    Fault(
        r"no wheels|no usable wheels|no version of|not found in the package registry|unsatisfiable",
        "the package index has not what the list names, for this platform and Python",
        "use an index that has all of it, such as PyPI or a full mirror (uv's own settings)",
    ),
)


def find_uv(name: str) -> str:
    """The program. Raises ConfigurationError where there is none; ``name``: of the environment that needs it."""
    beside = Path(sys.executable).parent / "uv"
    found = shutil.which("uv") or (str(beside) if os.access(beside, os.X_OK) else None)
    if found is None:
        raise ConfigurationError(f"the environment {name} is not made yet, and making it needs uv: pip install uv")
    return found


class Uv:
    """uv at work on one environment. ``folder``: where it runs. ``lock``: a descriptor that it holds while it lives."""

    def __init__(self, name: str, folder: Path, lock: int) -> None:
        self._name, self._folder, self._lock = name, folder, lock
        self._program = find_uv(name)
        #: Bytes that it has written so far, of all its runs.
        self.written = 0
        self._env = {"UV_NO_PROGRESS": "1"}

    def avoid(self, said: str) -> bool:
        """Do better with a program of the PATH that uv fell over, as it ``said``; whether the next run differs."""
        # pyenv has a program for each version of all its Pythons, of which only those run that are chosen; and for uv.
        chosen = [*filter(None, self._env.get("PYENV_VERSION", "").split(":"))]
        if more := [version for version in _PYENV_HAS.findall(said) if version not in chosen]:
            self._env["PYENV_VERSION"] = ":".join([*chosen, *more])
            return True
        if (fell := _FELL_OVER.search(said)) is None:
            return False
        before = self._env.get("PATH", os.environ.get("PATH", "")).split(os.pathsep)
        after = [folder for folder in before if Path(folder) != Path(fell[1]).parent]
        self._env["PATH"] = os.pathsep.join(after)
        return after != before

    def run(self, arguments: Sequence[str], look: Callable[[str], None]) -> tuple[bool, str]:
        """Whether it succeeded, and the end of what it said; ``look`` is told of that now and then.

        Raises LoadFailed where it does nothing any more, and what ``look`` raises; then it has ended.
        """
        variables = [name for name in os.environ if name.startswith("UV_") and name not in _NOT_FOR_US]
        command = [self._program, *arguments, "--color", "never"]
        with Child(
            command,
            name="uv",
            cwd=self._folder,
            inherit=(*variables, *_OTHERS),
            env=self._env,
            pass_fds=[self._lock],
            redact=without_secrets,
            level=logging.DEBUG,  # a line for each package, and what is tried first and fails; errors quote its end
        ) as child:
            before, seen, since = self.written, ("", 0), time.monotonic()
            while child.running:
                self.written = before + max(self.written - before, _written_by_children(child.pid))
                now = (child.tail(200), self.written)
                if now != seen:
                    seen, since = now, time.monotonic()
                elif time.monotonic() - since > PATIENCE:
                    raise failed(self._name, f"uv has done nothing for {PATIENCE:g} s. {_end(child)}")
                look(now[0])
                child.wait(_LOOK)
            return child.status() == 0, f"uv {child.how()}. {_end(child)}"


def failed(name: str, said: str) -> LoadFailed:
    """The error for what uv said when it could not make this environment."""
    text = diagnose(f"the environment {name} cannot be made: {said}", FAULTS).text
    return LoadFailed(text, permanent=True)


def without_secrets(line: str) -> str:
    """A line without what addresses hold beside places: users and passwords, and what is asked for."""
    return _QUERY.sub("?…", _USER.sub("", line))


def _end(child: Child) -> str:
    return child.death().partition(". ")[2] if not child.running else f"The end of its log:\n{child.tail()}"


def _written_by_children(pid: int) -> int:
    """Bytes that the children of this process have written, where /proc tells."""
    total = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            total += int(Path(f"/proc/{child}/io").read_text().partition("wchar:")[2].split()[0])
    return total


__all__ = ["PATIENCE", "Uv", "failed", "find_uv", "without_secrets"]
