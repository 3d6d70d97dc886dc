"""Where environments lie in the cache, and what is there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from offboard_client.errors import ConfigurationError

from ..cache import cache_folder
from ..plugins import EnvironmentEntry, Offer
from .lists import read_list

_RECORD = ".offboard-environment.json"
#: What ends the names of what is being made, and of what keeps others from making it, too.
PART, _LOCK = ".part", ".lock"


@dataclass(frozen=True, kw_only=True)
class Made:
    """What is in an environment: its ``python`` version, how many ``packages``, its ``size`` in bytes.

    ``made``: when, in ISO 8601, UTC.
    """

    python: str
    packages: int
    size: int
    made: str


def environments() -> Path:
    """The folder that holds all of them."""
    return cache_folder() / "environments"


def place_of(offer: Offer[EnvironmentEntry]) -> Path:
    """Where the environment of this list is, once it is made. Raises ConfigurationError for a wrong list."""
    return environments() / f"{offer.name}-{read_list(offer).digest}"


def interpreter(place: Path) -> Path:
    """The Python of the environment at ``place``."""
    return place / "bin" / "python"


def made(place: Path) -> Made | None:
    """What is at ``place``; None where there is no whole environment whose Python is still there."""
    try:
        record = json.loads((place / _RECORD).read_bytes())
        found = Made(**{name: kind(record[name]) for name, kind in _FIELDS.items()})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if os.access(interpreter(place), os.X_OK) else None


_FIELDS: dict[str, Any] = {"python": str, "packages": int, "size": int, "made": str}


def write_record(place: Path, what: Made) -> None:
    """What makes a folder an environment: written last."""
    with (place / _RECORD).open("w", encoding="utf-8") as file:
        json.dump(asdict(what), file)
        file.flush()
        os.fsync(file.fileno())


def leftovers(offers: Iterable[Offer[EnvironmentEntry]]) -> dict[str, int]:
    """Folders of the cache that no list of ``offers`` makes, with their bytes as far as they are known: those of lists
    that have changed or gone, and what somebody makes now or was killed at."""
    wanted = {place_of(offer).name for offer in offers}
    try:
        there = [place.name for place in environments().iterdir() if place.is_dir()]
    except OSError:
        return {}
    return {name: _size(environments() / name) for name in sorted(there) if name not in wanted}


def _size(place: Path) -> int:
    whole = made(place)
    return 0 if whole is None else whole.size


def remove_leftover(name: str) -> None:
    """Remove the folder of this name, as :func:`leftovers` has it."""
    remove(environments() / name)


def remove(place: Path) -> None:
    """Remove what is at ``place``, which is no environment any more from the first moment on.

    Raises ConfigurationError.
    """
    try:
        (place / _RECORD).unlink(missing_ok=True)
        shutil.rmtree(place)
        place.with_name(f"{place.name.removesuffix(PART)}{_LOCK}").unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{error.filename or place} cannot be removed: {error.strerror or error}") from None


__all__ = ["Made", "interpreter", "leftovers", "made", "place_of", "remove", "remove_leftover", "write_record"]
