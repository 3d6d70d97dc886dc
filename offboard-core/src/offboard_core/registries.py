"""Where checkpoints are found: in memory, or as numbered folders that a training run writes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from offboard_client._names import nearest
from offboard_client.errors import ConfigurationError, ModelNotFound

from .types import Checkpoint, ModelRegistry


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


class DescribedRegistry(ModelRegistry):
    """What another registry finds, each checkpoint as ``describe`` completes it."""

    def __init__(self, found: ModelRegistry, describe: Callable[[Checkpoint], Checkpoint]) -> None:
        self._found = found
        self._describe = describe

    def checkpoints(self) -> Sequence[Checkpoint]:
        """See :meth:`ModelRegistry.checkpoints`."""
        return [self._describe(checkpoint) for checkpoint in self._found.checkpoints()]

    def resolve(self, model_id: str) -> Checkpoint:
        """See :meth:`ModelRegistry.resolve`."""
        return self._describe(self._found.resolve(model_id))

    def default(self) -> Checkpoint:
        """See :meth:`ModelRegistry.default`."""
        return self._describe(self._found.default())


def numbered_folders(
    place: Path, complete: Callable[[Path], bool], *, prefix: str = "", expected: str
) -> list[tuple[int, Path]]:
    """The folders ``<prefix>NNN`` in ``place`` that are ``complete``, oldest first, by number.

    ``expected``: what such a folder holds, for the error (``"pretrained_model/config.json and its weights"``).
    Anything of another name (a temporary folder, the link ``last``) is passed over.
    Raises ConfigurationError that says what is there: ``place`` is missing, is no folder, cannot be read, or holds
    no complete folder.
    """
    names = _listing(place)
    pattern = re.compile(re.escape(prefix) + r"([0-9]{1,18})")
    matched = [(int(match[1]), place / name) for name in names if (match := pattern.fullmatch(name))]
    steps = sorted((number, path) for number, path in matched if path.is_dir())
    found = [(number, path) for number, path in steps if complete(path)]
    if not found:
        there = (
            f"{', '.join(path.name for _, path in steps[-5:])} {'are' if len(steps) > 1 else 'is'} incomplete"
            if steps
            else f"it holds {_some(names)}"
        )
        raise ConfigurationError(
            f"there is no complete checkpoint in {place}: {there}; "
            f"expected folders called {prefix}<number>, each with {expected}"
        )
    return found


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
    return ConfigurationError(
        f"{place} does not exist; " + (f"did you mean {near}?" if near else f"{parent} holds {_some(names)}")
    )


def _some(names: Sequence[str]) -> str:
    return (", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")) if names else "nothing"
