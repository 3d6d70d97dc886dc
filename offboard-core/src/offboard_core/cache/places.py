"""Where the cache is, and what is in a part of it."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where it is kept: $OFFBOARD_CACHE, else ~/.cache/offboard."""
    named = os.environ.get("OFFBOARD_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "offboard"


def bytes_in(place: Path) -> int:
    """The bytes of the files below ``place`` that can be seen; what is replaced meanwhile may be left out.

    A file of several names counts once, a link not at all.
    """
    total, seen = 0, set[tuple[int, int]]()
    for folder, _, names in os.walk(place):
        for name in names:
            try:
                stat = os.lstat(os.path.join(folder, name))
            except OSError:  # it is replaced just now
                continue
            if (key := (stat.st_dev, stat.st_ino)) not in seen and not os.path.islink(os.path.join(folder, name)):
                seen.add(key)
                total += stat.st_size
    return total


__all__ = ["bytes_in", "cache_folder"]
