"""One process at a time works on a place; who waits for it is told, and does not wait for one that does nothing."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from offboard_client.errors import ConfigurationError

from ..types import ReportProgress, sized
from .places import bytes_in

#: Seconds that the other process may go without a byte.
PATIENCE = 600.0
#: Seconds between two looks.
_LOOK = 0.5


@contextmanager
def alone(
    place: Path, doing: str, report: ReportProgress, growing: Callable[[], int] | None = None
) -> Generator[IO[str]]:
    """While this is open no other process has it open for ``place``; its lock is a file beside that.

    ``doing``: what the other process does, as in "another process is fetching this". ``growing``: a number that changes
    while it does something; the bytes in ``place`` if left out. Yields the lock: a child that is given its descriptor
    holds it, too, until it ends. Raises ConfigurationError where nothing has changed for 600 s, and OSError.
    """
    growing = growing or (lambda: bytes_in(place))
    path = place.with_name(f"{place.name}.lock")
    with path.open("w") as lock:
        there, since = -1, 0.0
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if (now_there := growing()) != there:
                    there, since = now_there, time.monotonic()
                elif time.monotonic() - since > PATIENCE:
                    raise ConfigurationError(
                        f"another process is {doing}, into {place}, and nothing has come for {PATIENCE:g} s; "
                        f"end it (`fuser {path}` names it), and try again"
                    ) from None
                report(f"another process is {doing}: {sized(there)} are there")
                time.sleep(_LOOK)
        yield lock


def use(place: Path) -> IO[str] | None:
    """While what this returns is open, nobody is :func:`alone` with ``place``, and it stays there. None: its lock
    cannot be had, as in a cache that others may not write to."""
    try:
        lock = place.with_name(f"{place.name}.lock").open("a")
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return lock


__all__ = ["PATIENCE", "alone", "use"]
