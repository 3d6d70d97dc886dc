"""Where checkpoints are found: in memory, or as numbered folders that a training run writes."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from offboard_client.errors import ConfigurationError, LoadFailed, ModelNotFound, nearest

from ..types import Checkpoint, ModelRegistry

#: How long ago the last write must have been for "it is still being written" to be likely, in seconds.
RECENTLY = 120.0
_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")


class MemoryRegistry(ModelRegistry):
    """Checkpoints that are known beforehand, in this order; the first one is the default."""

    def __init__(self, checkpoints: Iterable[Checkpoint]) -> None:
        self._checkpoints = tuple(checkpoints)

    def checkpoints(self) -> Sequence[Checkpoint]:
        """All of them."""
        return self._checkpoints

    def default(self) -> Checkpoint:
        """The first. Raises ModelNotFound if there is none."""
        if not self._checkpoints:
            raise ModelNotFound("this server was given no model")
        return self._checkpoints[0]


class EnrichedRegistry(ModelRegistry):
    """What another registry finds, each checkpoint as ``enrich`` completes it."""

    def __init__(self, found: ModelRegistry, enrich: Callable[[Checkpoint], Checkpoint]) -> None:
        self._found = found
        self._enrich = enrich

    def checkpoints(self) -> Sequence[Checkpoint]:
        """See :meth:`ModelRegistry.checkpoints`."""
        return [self._enrich(checkpoint) for checkpoint in self._found.checkpoints()]

    def resolve(self, model_id: str) -> Checkpoint:
        """See :meth:`ModelRegistry.resolve`."""
        return self._enrich(self._found.resolve(model_id))

    def default(self) -> Checkpoint:
        """See :meth:`ModelRegistry.default`."""
        return self._enrich(self._found.default())


def numbered_folders(
    place: Path, problem: Callable[[Path], str | None], *, prefix: str = "", expected: str
) -> list[tuple[int, Path]]:
    """The folders ``<prefix>NNN`` in ``place`` that have no ``problem``, oldest first, by number.

    ``problem``: what is wrong with such a folder and what to do about it, None if it is a whole checkpoint; see
    :func:`still_written`. ``expected``: what such a folder holds (``"pretrained_model/config.json and its weights"``).
    Anything of another name (a temporary folder, the link ``last``) is passed over.
    Raises ConfigurationError that says what is there: ``place`` is missing, is no folder, cannot be read, or holds
    no complete folder.
    """
    names = _listing(place)
    pattern = re.compile(re.escape(prefix) + r"([0-9]{1,18})")
    matched = [(int(match[1]), place / name) for name in names if (match := pattern.fullmatch(name))]
    steps = sorted((number, path) for number, path in matched if path.is_dir())
    problems = {path: problem(path) for _, path in steps}
    found = [(number, path) for number, path in steps if problems[path] is None]
    if not found:
        wrong = [f"of {path.name}, {problems[path]}" for _, path in steps[-3:]]
        others = [place / name for name in names if not pattern.fullmatch(name)]
        hints = [hint for path in others if (hint := _hint(path, problem))] or _further_down(others, pattern)
        there = (
            f"{', '.join(path.name for _, path in steps[-5:])} {'are' if len(steps) > 1 else 'is'} incomplete"
            if steps
            else f"it holds {_some(names)}"
        )
        told = f"there is no complete checkpoint in {place}: {there}; "
        raise ConfigurationError(
            told + "; ".join([f"expected folders called {prefix}<number>, each with {expected}", *wrong, *hints])
        )
    return found


def still_written(folder: Path, otherwise: str = "save or copy it again") -> str:
    """What to do about a folder that lacks something: wait, if it is being written now; else ``otherwise``."""
    try:
        newest = max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))
    except OSError:  # it changes while it is read
        return "it is being written: wait for that"
    ago = max(0.0, time.time() - newest)
    if ago < RECENTLY:
        return f"it was written to {ago:.0f} s ago: if it is still being written or copied, wait for that"
    return f"nothing has been written there for {_spell(ago)}: {otherwise}"


def stamps(folder: Path, names: Iterable[str]) -> dict[str, tuple[int, int, int]]:
    """Equal at two times if none of these files was replaced or written to between them, or has gone.

    A model that is made of two states of its files has weights of one and statistics of the other, and no error.
    """
    return {name: _stamp(folder / name) for name in names}


def check_unchanged(folder: Path, seen: Mapping[str, tuple[int, int, int]]) -> None:
    """Raises LoadFailed where the files that :func:`stamps` saw are not what they were: they are another model's."""
    if stamps(folder, seen) != seen:
        raise LoadFailed(
            f"{folder} was written to since its load began: what is there now is another model. "
            "Load it again when that has ended, in a new session"
        )


def check_listed(now: Checkpoint, listed: Checkpoint) -> None:
    """Raises LoadFailed where a checkpoint's files are not what was listed: codec and handshake were made of that.

    ``now``: what a listing would say of them at this moment, in the same words, whatever its id and its experiment.
    """
    changed = [name for name in _SAID if getattr(now, name) != getattr(listed, name)]
    names = {**listed.extras, **now.extras}
    changed += [name for name in names if now.extras.get(name) != listed.extras.get(name)]
    if changed:
        raise LoadFailed(
            f"{listed.location} was replaced since it was listed: its {' and '.join(changed)} differ. "
            "Ask for it by its id, or restart the server, to serve what is there now"
        )


#: What a checkpoint's files say, beside what is the vendor's own.
_SAID = ("type", "inputs", "outputs", "chunk_length", "recorded")


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0
    return status.st_ino, status.st_size, status.st_mtime_ns


def is_lfs_pointer(head: bytes) -> bool:
    """Whether a file that begins so stands for one that Git LFS did not fetch."""
    return head.startswith(b"version https://git-lfs")


def _hint(path: Path, problem: Callable[[Path], str | None]) -> str | None:
    """What a folder may be that is no numbered one, where there is none."""
    if path.is_symlink() and not path.exists():
        return f"{path.name} is a link to {os.readlink(path)}, which is not there: copy that folder, too"
    if not path.is_dir():
        return None
    if "tmp" in path.name:
        return f"{path.name} was not saved to its end; {still_written(path)}"
    return f"{path.name} is a whole checkpoint: to serve that one, give {path}" if problem(path) is None else None


def _further_down(folders: Sequence[Path], pattern: re.Pattern[str]) -> list[str]:
    """Where the numbered folders are, if the place that was given lies one or two above them."""
    for folder in folders[:20]:
        for place in (folder, *sorted(folder.glob("*"))[:20]):
            if place.is_dir() and any(pattern.fullmatch(path.name) and path.is_dir() for path in place.iterdir()):
                return [f"did you mean {place}?"]
    return []


def _listing(place: Path) -> list[str]:
    try:
        return sorted(os.listdir(place))
    except FileNotFoundError:
        raise not_there(place) from None
    except NotADirectoryError:
        raise ConfigurationError(f"{place} is a file; expected the folder that holds the checkpoints") from None
    except OSError as error:
        raise ConfigurationError(f"{place} cannot be read: {error.strerror}; check who may read it") from error


def not_there(place: Path) -> ConfigurationError:
    """The error about a path that does not exist: what is called like it, or what is there instead."""
    missing, parent = place, place.parent
    while parent != parent.parent and not parent.is_dir():
        missing, parent = parent, parent.parent
    try:
        names = sorted(os.listdir(parent))
    except OSError as error:
        return ConfigurationError(f"{place} does not exist; {parent} cannot be read: {error.strerror}")
    near = " or ".join(str(parent / name) for name in nearest(missing.name, names))
    hint = f"did you mean {near}?" if near else f"{parent} holds {_some(names)}"
    if _REPOSITORY.fullmatch(str(place)) and not place.parent.is_dir():
        hint = f"a repository on the Hugging Face Hub is written hf://{place}"
    return ConfigurationError(f"{place} does not exist; {hint}")


def what_is_there(place: Path) -> str:
    """``which holds …``, in an error about a path that exists."""
    try:
        return f"which holds {_some(sorted(os.listdir(place)))}" if place.is_dir() else "which is a file"
    except OSError as error:
        return f"which cannot be read: {error.strerror}"


def nearby(place: Path, known: Callable[[Path], bool]) -> Path | None:
    """A folder that is ``known``: of a file the one it lies in, of a folder one below it, two levels at most."""
    if not place.is_dir():
        return next((folder for folder in place.parents[:2] if known(folder)), None)
    above = [place]
    for _ in range(2):
        above = [path for folder in above for path in _folders(folder)]
        if found := next(filter(known, above), None):
            return found
    return None


def _folders(place: Path) -> list[Path]:
    try:
        return [path for path in sorted(place.iterdir())[:20] if path.is_dir()]
    except OSError:
        return []


def _some(names: Sequence[str]) -> str:
    return (", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")) if names else "nothing"


def _spell(seconds: float) -> str:
    for unit, length in (("days", 86400.0), ("hours", 3600.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 60:.0f} minutes"
