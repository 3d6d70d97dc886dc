"""Where environments lie in the cache, and what is there."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from offboard_client.errors import ConfigurationError

from ..cache import cache_folder
from ..plugins import EnvironmentEntry, Offer
from .lists import read_list

_RECORD, _HOLDS = ".offboard-environment.json", "holds"
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
    """What is at ``place``; None where there is no whole environment whose Python and packages are still there."""
    try:
        record = json.loads((place / _RECORD).read_bytes())
        if not set(record.get(_HOLDS, ())) <= _held(place):
            return None
        found = Made(**{name: kind(record[name]) for name, kind in _FIELDS.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if os.access(interpreter(place), os.X_OK) else None


def _held(place: Path) -> set[str]:
    """The names of all modules and packages there."""
    return {path.name for path in place.glob("lib/python*/site-packages/*")}


def added(offer: Offer[EnvironmentEntry]) -> list[str]:
    """The packages that somebody has installed into this environment beside its list, as ``a_name``; [] if it is not
    made. Raises ConfigurationError for a wrong list."""
    found = place_of(offer).glob("lib/python*/site-packages/*.dist-info")
    names = {_plain(path.name.partition("-")[0]) for path in found}
    return sorted(names - {_plain(line.partition("==")[0]) for line in read_list(offer).lines})


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


_FIELDS: dict[str, Any] = {"python": str, "packages": int, "size": int, "made": str}


def write_record(place: Path, what: Made) -> None:
    """What makes a folder an environment: written last."""
    with (place / _RECORD).open("w", encoding="utf-8") as file:
        json.dump({**asdict(what), _HOLDS: sorted(_held(place))}, file)
        file.flush()
        os.fsync(file.fileno())


def leftovers(offers: Iterable[Offer[EnvironmentEntry]], *, made_now: bool = False) -> dict[str, int]:
    """Folders of the cache that no list of ``offers`` makes, with their bytes as far as they are known: those of lists
    that have changed or gone, and what somebody was killed at. ``made_now``: and what another process makes now."""
    wanted = {place_of(offer).name for offer in offers}
    try:
        there = [place.name for place in environments().iterdir() if place.is_dir()]
    except OSError:
        return {}
    left = [name for name in sorted(there) if name not in wanted and (made_now or not _is_made_now(name))]
    return {name: _size(environments() / name) for name in left}


def _is_made_now(name: str) -> bool:
    try:
        with _lock_of(environments() / name).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (OSError, ValueError):
        pass
    return False


def _size(place: Path) -> int:
    whole = made(place)
    return 0 if whole is None else whole.size


def remove_leftover(name: str) -> None:
    """Remove the folder of this name, as :func:`leftovers` has it."""
    remove(environments() / name)


def remove(place: Path) -> None:
    """Remove what is at ``place``, which is no environment any more from the first moment on.

    Raises ConfigurationError; also while another process makes it, or a worker runs in it.
    """
    try:
        # The lock stays: of two who wait for it one would have that of a file that is not there any more.
        with _lock_of(place).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (place / _RECORD).unlink(missing_ok=True)
            shutil.rmtree(place)
    except BlockingIOError:
        what = "is being made by another process" if _is_made_now(place.name) else "has a worker of a server in it"
        raise ConfigurationError(
            f"{place} {what}: wait until that has ended, or end it (`fuser {_lock_of(place)}` names it)"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{error.filename or place} cannot be removed: {error.strerror or error}") from None


def _lock_of(place: Path) -> Path:
    return place.with_name(f"{place.name.removesuffix(PART)}{_LOCK}")


__all__ = ["Made", "added", "interpreter", "leftovers", "made", "place_of", "remove", "remove_leftover", "write_record"]
