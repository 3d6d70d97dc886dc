"""What a vendor's code has started in the server's own process, and left running: it ends with the server."""

from __future__ import annotations

import contextlib
import gc
import logging
import multiprocessing.popen_fork
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path

from ._shim import adopt, children, kill_all
from .environment import ENDS_WITH

log = logging.getLogger(__name__)

#: Seconds between SIGTERM and SIGKILL, and between two looks meanwhile.
_GRACE, _LOOK = 1.0, 0.01
#: Seconds between two looks for children that have ended. Who has forked by itself may still ask after the first.
_REAPING = 30.0
#: In the command lines of those that end by themselves once this process has, and tidy up then: the helper of Python's
#: own, and what looks after a :class:`.Child`.
_TIDY_UP = (b"multiprocessing.resource_tracker", b"_shim.py")


@contextlib.contextmanager
def ending_children() -> Generator[None, None, None]:
    """At its end each child that this process has had since is told to terminate and then killed, with all that it
    started, in whatever group or session that is. Until then those are waited for that end, and nobody else waits
    for. On Linux; elsewhere nothing is done.

    For a process that does nothing else: it is the parent of what was started from it, and lost its own. What was
    there before is left alone, with all that it starts.
    """
    before = set(children())
    mine = _Mine(before)
    os.environ[ENDS_WITH] = mine.mark
    adopt()
    ended = threading.Event()
    reaper = threading.Thread(target=_reap, args=(ended,), name="reaper", daemon=True)
    reaper.start()
    try:
        yield
    finally:
        ended.set()
        reaper.join()
        os.environ.pop(ENDS_WITH, None)
        _end(mine)


class _Mine:
    """Which children were started from here. Those ``before`` were not, nor what these have started and left."""

    def __init__(self, before: set[int]) -> None:
        self.mark = f"{os.getpid()}-{time.time_ns()}"
        self._before = before
        self._said = _read("self", "cmdline")

    def __contains__(self, child: int) -> bool:
        if child in self._before:
            return False
        if not self._before:
            return True
        # Who has forked and runs no other program has the environment that this process began with.
        marked = f"{ENDS_WITH}={self.mark}".encode() in _read(child, "environ").split(b"\0")
        return marked or _read(child, "cmdline") == self._said


def _reap(ended: threading.Event) -> None:
    before = set[int]()
    while sys.platform == "linux" and not ended.wait(_REAPING):
        now = _ended()
        twice = now & before
        if twice:
            for child in twice - _awaited():
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(child, os.WNOHANG)
        before = now


def _ended() -> set[int]:
    """Children that have ended and are not waited for yet."""
    return {child for child in children() if _has_ended(os.P_PID, child)} if _has_ended(os.P_ALL, 0) else set()


def _has_ended(kind: int, child: int) -> bool:
    try:
        return os.waitid(kind, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def _awaited() -> set[int]:
    """Those whose exit status Python is still to be asked for: it would say 0 if another had it."""
    ways = (subprocess.Popen, multiprocessing.popen_fork.Popen)
    # Not isinstance: objects that stand for others would be asked, and some load a library then.
    found = (each for each in gc.get_objects() if issubclass(type(each), ways))
    return {each.pid for each in found if getattr(each, "returncode", 0) is None}


def _end(mine: _Mine) -> None:
    left = _left(mine)
    if left:
        log.warning("what a vendor's code has started ends with this process: %s", ", ".join(map(str, left)))
    for child in left:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(child, signal.SIGTERM)
    end = time.monotonic() + _GRACE
    while left and time.monotonic() < end:
        time.sleep(_LOOK)
        left = _left(mine)
    kill_all(lambda child: child not in mine or _tidies_up(child))


def _left(mine: _Mine) -> list[int]:
    """Children that run; those that have ended are waited for."""
    running = list[int]()
    for child in children():
        if child not in mine or _tidies_up(child):
            continue
        try:
            if os.waitpid(child, os.WNOHANG)[0] == 0:
                running.append(child)
        except ChildProcessError:  # another thread has waited for it
            continue
    return running


def _tidies_up(child: int) -> bool:
    said = _read(child, "cmdline")
    return any(name in said for name in _TIDY_UP)


def _read(process: int | str, what: str) -> bytes:
    """What /proc tells of it; nothing, where that cannot be read."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/{what}").read_bytes()
    return b""


__all__ = ["ending_children"]
