"""What a vendor's code has started in the server's own process, and left running: it ends with the server."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Generator
from pathlib import Path

from ._shim import adopt, children, kill_all

log = logging.getLogger(__name__)

#: Seconds between SIGTERM and SIGKILL, and between two looks meanwhile.
_GRACE, _LOOK = 1.0, 0.01
#: In the command lines of those that end by themselves once this process has, and tidy up then: the helper of Python's
#: own, and what looks after a :class:`.Child`.
_TIDY_UP = (b"multiprocessing.resource_tracker", b"_shim.py")


@contextlib.contextmanager
def ending_children() -> Generator[None, None, None]:
    """At its end each child that this process has had since is told to terminate and then killed, with all that it
    started, in whatever group or session that is. On Linux; elsewhere nothing is done.

    For a process that does nothing else: it is the parent of what was started from it, and lost its own.
    """
    before = set(children())
    adopt()
    try:
        yield
    finally:
        _end(before)


def _end(spared: set[int]) -> None:
    left = _left(spared)
    if left:
        log.warning("what a vendor's code has started ends with this process: %s", ", ".join(map(str, left)))
    for child in left:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(child, signal.SIGTERM)
    end = time.monotonic() + _GRACE
    while left and time.monotonic() < end:
        time.sleep(_LOOK)
        left = _left(spared)
    kill_all({*spared, *_helpers()})


def _left(spared: set[int]) -> list[int]:
    """Children that run; those that have ended are waited for."""
    helpers = _helpers()
    running = list[int]()
    for child in children():
        if child in spared or child in helpers:
            continue
        try:
            if os.waitpid(child, os.WNOHANG)[0] == 0:
                running.append(child)
        except ChildProcessError:  # another thread has waited for it
            continue
    return running


def _helpers() -> set[int]:
    found = set[int]()
    for child in children():
        with contextlib.suppress(OSError):
            said = Path(f"/proc/{child}/cmdline").read_bytes()
            if any(name in said for name in _TIDY_UP):
                found.add(child)
    return found


__all__ = ["ending_children"]
